// A request to the admin interface, taken apart: no hurry here, so it is made of Strings.

import HTTP
import Metrics
import Primitives

struct AdminRequest: Sendable {
  let version: HTTPVersion
  let method: String
  /// The decoded segments of the path.
  let path: [String]
  let query: [String: String]
  /// In which form it wants metrics.
  let metricsFormat: ExpositionFormat
  /// The token of `Authorization: Bearer`.
  let token: String?
  let host: String
  /// Whether a page of another site makes a browser ask (RFC 6454 7).
  let isFromElsewhere: Bool
  var persists: Bool
  var body: [UInt8] = []

  init(_ head: borrowing RequestHead, persists: Bool) {
    self.persists = persists
    version = head.version
    method = String(decoding: head.bytes(of: head.methodName))
    path = String(decoding: head.bytes(of: head.path)).split(separator: "/").map(Self.decoded)
    var query: [String: String] = [:]
    if let slice = head.query {
      for pair in String(decoding: head.bytes(of: slice)).split(separator: "&") {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        query[Self.decoded(parts[0])] = parts.count > 1 ? Self.decoded(parts[1]) : ""
      }
    }
    self.query = query
    let weight = head.fields.weight(accepting: "application/openmetrics-text")
    let prefersOpenMetrics =
      weight > 0 && weight >= head.fields.weight(accepting: "text/plain")
    metricsFormat = prefersOpenMetrics ? .openMetrics : .text
    host = String(decoding: head.bytes(of: head.host))
    let origin = Self.value(.origin, head)
    let port = head.port.map { ":\($0)" } ?? ""
    isFromElsewhere = !origin.isEmpty && origin != "https://\(host)\(port)"
    let credentials = Self.value(.authorization, head)
    // Any number of spaces (RFC 9110 11.4).
    let prefix = "bearer "
    token =
      credentials.lowercased().hasPrefix(prefix)
      ? String(credentials.dropFirst(prefix.count).drop { $0 == " " }) : nil
  }

  private static func value(_ field: KnownField, _ head: borrowing RequestHead) -> String {
    guard let slice = head.fields.first(field) else { return "" }
    return String(decoding: head.bytes(of: slice))
  }

  /// Percent-encoding taken off (RFC 3986 2.1); what isn't one stays as it is.
  private static func decoded(_ text: some StringProtocol) -> String {
    let source = Array(text.utf8)
    var bytes: [UInt8] = []
    var index = 0
    while index < source.count {
      if source[index] == 0x25, index + 2 < source.count,
        let high = source[index + 1].hexadecimalValue, let low = source[index + 2].hexadecimalValue
      {
        bytes.append(high << 4 | low)
        index += 3
      } else {
        bytes.append(source[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
