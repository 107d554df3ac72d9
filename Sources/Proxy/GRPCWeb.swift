// gRPC-Web (grpc/doc/PROTOCOL-WEB.md): the form of gRPC for browsers, which can't read trailers. A
// proxy translates it: the messages are the same, and the trailers become a last frame of the body.
//
// Base64 for its text form is decoded and encoded here as a stream. Which routes translate is the
// caller's decision.

public import HTTP
public import Primitives

/// The two forms of gRPC-Web.
public enum GRPCWeb: Sendable {
  case binary
  /// Everything is in base64.
  case text
}

extension RequestHead {
  /// The form, if this is a call of gRPC-Web.
  public var grpcWeb: GRPCWeb? {
    guard method == .post, let type = fields.first(.contentType) else { return nil }
    let value = bytes(of: type)
    // The longer name first, since the other one is its beginning.
    if value.isMediaType("application/grpc-web-text") { return .text }
    if value.isMediaType("application/grpc-web") { return .binary }
    return nil
  }

  /// Turns the call into one of gRPC. The caller adds `te: trailers`.
  public mutating func becomeGRPC() {
    fields.replaceMediaType(by: "application/grpc", encoding: "")
  }
}

extension ResponseHead {
  /// Turns a response of gRPC into one of gRPC-Web; false if it isn't one of gRPC.
  public mutating func becomeGRPCWeb(_ form: GRPCWeb) -> Bool {
    guard let type = fields.first(.contentType),
      fields.bytes(of: type).isMediaType("application/grpc")
    else { return false }
    switch form {
    case .binary: fields.replaceMediaType(by: "application/grpc-web", encoding: "+proto")
    case .text: fields.replaceMediaType(by: "application/grpc-web-text", encoding: "+proto")
    }
    return true
  }
}

extension FieldBlock {
  /// Keeps the encoding of the messages, such as +json; without one, it is `encoding`.
  fileprivate mutating func replaceMediaType(by name: StaticString, encoding: StaticString) {
    guard let type = first(.contentType) else { return }
    var value = ByteBuffer(capacity: 48)
    value.append(name)
    let old = array(type)
    if let plus = old.firstIndex(of: 0x2B) {
      value.append(old.span.extracting(plus...))
    } else {
      value.append(encoding)
    }
    removeAll(of: .contentType)
    append(.contentType, value.bytes)
  }
}

extension FieldBlock {
  /// Appends the frame that stands for these trailers.
  public func appendGRPCWebFrame(to output: inout ByteBuffer) {
    var block = ByteBuffer(capacity: 256)
    for index in 0..<count where !self[index].isRemoved {
      let name = bytes(of: self[index].name)
      for position in name.indices { block.append(name[position].lowercased) }
      block.append(": ")
      block.append(bytes(of: self[index].value))
      block.append("\r\n")
    }
    output.append(0x80)
    for shift in [24, 16, 8, 0] { output.append(UInt8(truncatingIfNeeded: block.count >> shift)) }
    output.append(block.bytes)
  }
}

// MARK: - Base64

/// Decodes base64 (RFC 4648 4) in pieces. Padding may end each of several parts that follow each
/// other, as gRPC-Web allows.
public struct Base64Decoder: Sendable, Equatable {
  /// The bits of the group that is not complete, and how many characters it has.
  private var bits: UInt32 = 0
  private var characterCount = 0
  private var paddingCount = 0

  public init() {}

  /// Whether the text may end here.
  public var isComplete: Bool { characterCount == 0 }

  /// False for text that is not base64.
  public mutating func decode(_ text: Span<UInt8>, into output: inout ByteBuffer) -> Bool {
    for index in text.indices {
      if text[index] == 0x3D {
        guard characterCount >= 2 else { return false }
        paddingCount += 1
      } else {
        guard paddingCount == 0, let value = Self.value(of: text[index]) else { return false }
        bits |= UInt32(value) << UInt32(18 - 6 * characterCount)
      }
      characterCount += 1
      if characterCount == 4 {
        for position in 0..<(3 - paddingCount) {
          output.append(UInt8(truncatingIfNeeded: bits >> UInt32(16 - 8 * position)))
        }
        self = Base64Decoder()
      }
    }
    return true
  }

  private static func value(of character: UInt8) -> UInt8? {
    switch character {
    case 0x41...0x5A: character - 0x41
    case 0x61...0x7A: character - 0x61 + 26
    case 0x30...0x39: character - 0x30 + 52
    case 0x2B: 62
    case 0x2F: 63
    default: nil
    }
  }
}

/// Appends these bytes in base64, with padding.
public func appendBase64(_ bytes: Span<UInt8>, to output: inout ByteBuffer) {
  let alphabet =
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" as StaticString).bytes
  var index = 0
  while index < bytes.count {
    let count = min(3, bytes.count - index)
    var bits: UInt32 = 0
    for position in 0..<count {
      bits |= UInt32(bytes[index + position]) << UInt32(16 - 8 * position)
    }
    for position in 0..<4 {
      output.append(
        position <= count ? alphabet[Int(bits >> UInt32(18 - 6 * position)) & 63] : 0x3D)
    }
    index += 3
  }
}
