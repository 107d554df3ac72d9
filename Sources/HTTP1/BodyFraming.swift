// Where a message ends (RFC 9112 6.3). Request smuggling exploits differences in this.
//
// A request with an ambiguous length is refused. So is a response, with one exception: several
// identical lengths count as one (RFC 9112 6.3 rule 5), because some servers send them, and the
// encoder writes a single one. `chunked` is the only transfer coding that we support: it must occur
// exactly once, alone, in this spelling.

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
  /// body: what follows them is not HTTP.
  public func framing(answering method: Method) throws(HTTP1Error) -> BodyFraming {
    if status < 200 || status == 204 { return .none }
    if method == .head || status == 304 {
      // There is no body, but its announced length must not be ambiguous either.
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
    // An HTTP/1.0 server ignores the field and reads another length (RFC 9112 6.1).
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

  /// Repairs the codings of a response if every recipient would find the same end of the body.
  /// Returns the error that was repaired, if any.
  mutating func unifyTransferEncoding() -> HTTP1Error? {
    // Together with a length they are ambiguous, and refused.
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

  /// The length that all Content-Length fields state, and whether they state it more than once.
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

/// What all Transfer-Encoding lines state together. Empty list elements are not skipped: one server
/// takes `chunked,` for chunked and another doesn't, which allows smuggling.
private struct Codings {
  private(set) var lastIsChunked = false
  /// An element is empty, or another one follows `chunked`.
  private(set) var areMalformed = false
  private(set) var haveOthers = false
  private var count = 0
  private var identityCount = 0

  /// The error in these codings, if it can be repaired in a response.
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
