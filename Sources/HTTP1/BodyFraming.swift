// Where a message ends (RFC 9112 6.3), which is where smuggling begins.
//
// A request with any doubt about its length is refused. So is a response, except that identical
// repeated lengths are taken for one there (RFC 9112 6.3 rule 5): some servers send them, and the
// encoder writes a single one. `chunked` is the only transfer coding we speak; it must be the only
// one, once, spelled exactly so.

public import HTTP
import Primitives

/// How HTTP/1 delimits a body.
public enum BodyFraming: Equatable, Sendable {
  case none
  /// Content-Length.
  case length(UInt64)
  case chunked
  /// The body ends with the connection; responses only.
  case untilClose

  public var bodyLength: BodyLength {
    switch self {
    case .none: .none
    case .length(let count): .known(count)
    case .chunked, .untilClose: .streamed
    }
  }
}

extension RequestHead {
  public func framing() throws(HTTP1Error) -> BodyFraming {
    if try fields.isChunked(version, isResponse: false) { return .chunked }
    if let length = try fields.contentLength(mayRepeat: false) { return .length(length) }
    return .none
  }
}

extension ResponseHead {
  /// The framing of this response to a request with `method`. A 101 and a 2xx to CONNECT have no
  /// body: what follows them is no HTTP.
  public func framing(answering method: Method) throws(HTTP1Error) -> BodyFraming {
    if status < 200 || status == 204 { return .none }
    if method == .head || status == 304 {
      // No body, but what is said about one must not be ambiguous either.
      if try !fields.isChunked(version, isResponse: true) {
        _ = try fields.contentLength(mayRepeat: true)
      }
      return .none
    }
    if method == .connect && status < 300 { return .none }
    if try fields.isChunked(version, isResponse: true) { return .chunked }
    if let length = try fields.contentLength(mayRepeat: true) { return .length(length) }
    return .untilClose
  }
}

extension FieldBlock {
  fileprivate func isChunked(
    _ version: HTTPVersion, isResponse: Bool
  ) throws(HTTP1Error) -> Bool {
    guard contains(.transferEncoding) else { return false }
    // A server of that time doesn't know the field and reads another length (RFC 9112 6.1).
    if version == .http10 { throw .transferEncodingInHTTP10 }
    if contains(.contentLength) { throw .contentLengthWithTransferEncoding }
    let codings = self.codings
    guard codings.lastIsChunked && !codings.areMalformed else {
      throw isResponse
        ? codings.repairable ?? .transferEncodingNotChunked
        : .transferEncodingNotChunked
    }
    if codings.haveOthers { throw .unknownTransferCoding }
    return true
  }

  private var codings: Codings {
    var codings = Codings()
    var next = firstIndex(of: .transferEncoding)
    while let index = next {
      codings.take(bytes(of: self[index].value))
      next = nextIndex(of: .transferEncoding, after: index)
    }
    return codings
  }

  /// Makes codings of a response that delimit it in one way only, whoever reads them, what they
  /// amount to. Returns what was wrong with them, if they were repaired.
  mutating func unifyTransferEncoding() -> HTTP1Error? {
    // Next to a length they are ambiguous, and refused.
    guard contains(.transferEncoding), !contains(.contentLength),
      let fault = codings.repairable
    else { return nil }
    removeAll(of: .transferEncoding)
    if fault == .repeatedChunked { append(.transferEncoding, "chunked") }
    return fault
  }

  fileprivate func contentLength(mayRepeat: Bool) throws(HTTP1Error) -> UInt64? {
    guard let (length, repeats) = try statedContentLength() else { return nil }
    if repeats && !mayRepeat { throw .repeatedContentLength }
    return length
  }

  /// What all Content-Length fields say together, and whether they say it more than once.
  func statedContentLength() throws(HTTP1Error) -> (length: UInt64, repeats: Bool)? {
    var next = firstIndex(of: .contentLength)
    var length: UInt64? = nil
    var repeats = false
    while let index = next {
      next = nextIndex(of: .contentLength, after: index)
      let value = bytes(of: self[index].value)
      var start = 0
      while start <= value.count {
        let end = value.firstIndex(of: 0x2C, in: start..<value.count)
        let element = value.extracting(start..<end).trimmingBlanks()
        guard let number = element.decimalValue else { throw .badContentLength }
        if let length {
          if length != number { throw .differingContentLengths }
          repeats = true
        }
        length = number
        start = end + 1
      }
    }
    return length.map { ($0, repeats) }
  }
}

/// What the Transfer-Encoding lines say together. Empty list elements are not skipped here: a
/// `chunked,` that one server takes for chunked and another doesn't is an attack.
private struct Codings {
  private(set) var lastIsChunked = false
  /// An element is empty, or `chunked` comes before another.
  private(set) var areMalformed = false
  private(set) var haveOthers = false
  private var count = 0
  private var identityCount = 0

  /// What is wrong with these codings, if it is something that can be repaired in a response.
  var repairable: HTTP1Error? {
    if count > 0 && identityCount == count { return .identityCoding }
    return count > 1 && lastIsChunked && !haveOthers ? .repeatedChunked : nil
  }

  mutating func take(_ value: Span<UInt8>) {
    var start = 0
    while start <= value.count {
      let end = value.firstIndex(of: 0x2C, in: start..<value.count)
      let element = value.extracting(start..<end).trimmingBlanks()
      if element.isEmpty || lastIsChunked { areMalformed = true }
      lastIsChunked = element.equalsIgnoringCase(("chunked" as StaticString).bytes)
      if !lastIsChunked { haveOthers = true }
      count += 1
      if element.equalsIgnoringCase(("identity" as StaticString).bytes) { identityCount += 1 }
      start = end + 1
    }
  }
}

extension Span where Element == UInt8 {
  @_lifetime(copy self)
  fileprivate func trimmingBlanks() -> Span<UInt8> {
    var start = 0
    var end = count
    while start < end && self[start].isBlank { start += 1 }
    while start < end && self[end - 1].isBlank { end -= 1 }
    return extracting(start..<end)
  }
}
