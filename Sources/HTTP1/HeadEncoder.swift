// Writes heads (RFC 9112 3-6).
//
// The encoder owns what delimits messages on a connection: Connection, Keep-Alive,
// Proxy-Connection, Content-Length and Transfer-Encoding. It ignores these fields of the block and
// writes each once, from its arguments, so they can't be duplicated or contradict each other. All
// other fields are written in their order, each run of neighbours as one copy. The proxy decides
// what else is forwarded (fields named in Connection, Upgrade, TE, forwarding fields).

public import HTTP
public import Primitives

/// What to write about the connection.
public enum ConnectionOption: Equatable, Sendable {
  case keepAlive, close
  /// The message asks for, or answers with, the protocol named in its Upgrade field.
  case upgrade
}

extension RequestHead {
  /// Appends this head in HTTP/1.1, with an origin-form or asterisk target. Takes Host from the
  /// authority if there is no Host field. Returns how the body must be written.
  @discardableResult
  public func encode(
    body: BodyLength, connection: ConnectionOption, into output: inout ByteBuffer
  ) -> BodyFraming {
    if !connectProtocol.isEmpty {
      // What an extended CONNECT is in HTTP/1 (RFC 8441 5).
      output.append("GET")
    } else if methodName.isEmpty {
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
      // RFC 9112 3.2: the field is sent even if its value is empty.
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
  /// written: HTTP/1.0 has no chunks, so a body of unknown length ends with the connection.
  ///
  /// With `body: .none` no body follows, whatever the fields say. A valid Content-Length is then
  /// kept, except with 1xx and 204: after HEAD, and with 304, it states the length that GET would
  /// have returned (RFC 9110 8.6).
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
      // HTTP/1.1 connections persist by default.
      if clientVersion == .http10 { output.append("Connection: keep-alive\r\n") }
    case .close, .keepAlive: output.append("Connection: close\r\n")
    }
    output.append("\r\n")
    return framing
  }

  /// Appends an interim (1xx) head, without fields about the body or the connection.
  public func encodeInterim(into output: inout ByteBuffer) {
    writeStatusLine(to: &output)
    fields.writeLines(except: .ownedByEncoder, to: &output)
    output.append("\r\n")
  }

  private func writeStatusLine(to output: inout ByteBuffer) {
    // Martlet's own version, also to an HTTP/1.0 client (RFC 9110 2.5).
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
    // The lines from here up to `runEnd` are neighbours that are copied later, at once.
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
