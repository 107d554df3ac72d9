// Writes heads (RFC 9112 3-6).
//
// The encoder owns what delimits messages on a connection: Connection, Keep-Alive,
// Proxy-Connection, Content-Length and Transfer-Encoding. Whatever a block says in these fields
// stays behind, and they are written once, from the arguments, so that they can be neither doubled
// nor contradictory. All other fields go out in their order, each run of neighbours as one copy.
// What else may be forwarded (what Connection names, Upgrade, TE, forwarding fields) is the proxy's
// policy.

public import HTTP
public import Primitives

/// What to say about the connection.
public enum ConnectionOption: Equatable, Sendable {
  case keepAlive, close
  /// The message asks for, or answers with, the protocol named in its Upgrade field.
  case upgrade
}

extension RequestHead {
  /// Appends this head in HTTP/1.1, with an origin-form or asterisk target, and Host from the
  /// authority if no field has it. Returns how the body must be written.
  @discardableResult
  public func encode(
    body: BodyLength, connection: ConnectionOption, into output: inout ByteBuffer
  ) -> BodyFraming {
    if methodName.isEmpty {
      output.append(method.name)
    } else {
      output.append(bytes(of: methodName))
    }
    output.append(0x20)
    if targetForm == .authority {
      output.append(bytes(of: target))
    } else {
      if path.isEmpty { output.append(0x2F) }
      output.append(bytes(of: path))
      if let query {
        output.append(0x3F)
        output.append(bytes(of: query))
      }
    }
    output.append(" HTTP/1.1\r\n")
    if !fields.contains(.host) {
      // RFC 9112 3.2: the field is there even when nothing is known to put into it.
      output.append("Host: ")
      output.append(bytes(of: authority))
      output.append("\r\n")
    }
    fields.writeLines(except: .ownedByEncoder, to: &output)
    let framing: BodyFraming =
      switch body {
      case .none: .none
      case .known(let count): .length(count)
      case .streamed: .chunked
      }
    framing.writeField(to: &output)
    switch connection {
    case .keepAlive: break
    case .close: output.append("Connection: close\r\n")
    case .upgrade: output.append("Connection: upgrade\r\n")
    }
    output.append("\r\n")
    return framing
  }
}

extension ResponseHead {
  /// Appends this head for a client of version `clientVersion`, and returns how the body must be
  /// written: HTTP/1.0 knows no chunks, so there a body of unknown length ends with the connection.
  ///
  /// With `body: .none` no body follows, whatever the fields say. A valid Content-Length is kept
  /// then, except with 1xx and 204: after HEAD, and with 304, it tells what GET would have got
  /// (RFC 9110 8.6).
  @discardableResult
  public func encode(
    for clientVersion: HTTPVersion, body: BodyLength, connection: ConnectionOption,
    into output: inout ByteBuffer
  ) -> BodyFraming {
    let framing: BodyFraming =
      switch body {
      case .none: .none
      case .known(let count): .length(count)
      case .streamed: clientVersion == .http10 ? .untilClose : .chunked
      }
    writeStatusLine(to: &output)
    fields.writeLines(except: .ownedByEncoder, to: &output)
    if framing == .none, let length = lengthWithoutBody {
      BodyFraming.length(length).writeField(to: &output)
    } else {
      framing.writeField(to: &output)
    }
    switch connection {
    case .upgrade: output.append("Connection: upgrade\r\n")
    case .keepAlive where framing != .untilClose:
      // HTTP/1.1 persists without a word.
      if clientVersion == .http10 { output.append("Connection: keep-alive\r\n") }
    case .close, .keepAlive: output.append("Connection: close\r\n")
    }
    output.append("\r\n")
    return framing
  }

  /// Appends an interim (1xx) head, which says nothing about bodies or the connection.
  public func encodeInterim(into output: inout ByteBuffer) {
    writeStatusLine(to: &output)
    fields.writeLines(except: .ownedByEncoder, to: &output)
    output.append("\r\n")
  }

  private func writeStatusLine(to output: inout ByteBuffer) {
    // Our own version, also to a client of HTTP/1.0 (RFC 9110 2.5).
    output.append("HTTP/1.1 ")
    output.append(decimal: UInt64(status))
    output.append(0x20)
    if reason.isEmpty {
      output.append(reasonPhrase(status))
    } else {
      output.append(bytes(of: reason))
    }
    output.append("\r\n")
  }

  private var lengthWithoutBody: UInt64? {
    guard status >= 200, status != 204, let value = fields.first(.contentLength) else { return nil }
    return bytes(of: value).decimalValue
  }
}

extension BodyFraming {
  fileprivate func writeField(to output: inout ByteBuffer) {
    switch self {
    case .none, .untilClose: break
    case .length(let count):
      output.append("Content-Length: ")
      output.append(decimal: count)
      output.append("\r\n")
    case .chunked: output.append("Transfer-Encoding: chunked\r\n")
    }
  }
}

extension FieldBlock {
  /// Appends the lines of all fields that are not removed and not in `omitted`.
  func writeLines(except omitted: KnownFieldSet, to output: inout ByteBuffer) {
    // Lines from here up to `runEnd` are next to one another and wait to be copied.
    var run = 0
    var runEnd = 0
    for index in 0..<count {
      let field = self[index]
      if field.isRemoved { continue }
      if let known = field.known, omitted.contains(known) { continue }
      let line = field.line.range
      if line.lowerBound != runEnd {
        output.append(bytes(of: Slice(run..<runEnd)))
        run = line.lowerBound
      }
      runEnd = line.upperBound
    }
    output.append(bytes(of: Slice(run..<runEnd)))
  }
}

extension KnownFieldSet {
  static let ownedByEncoder: KnownFieldSet = [
    .connection, .keepAlive, .proxyConnection, .contentLength, .transferEncoding,
  ]
}
