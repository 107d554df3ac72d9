// Reads the JSON responses of the admin interface, for the commands.
//
// AdminInput.swift reads the requests to the admin interface.

/// A JSON value in a response of the admin interface.
public struct AdminReply: Sendable {
  private let json: JSON

  private init(json: JSON) { self.json = json }

  /// Nil if the bytes are not JSON.
  public init?(_ bytes: [UInt8]) {
    let (document, problems) = JSONReader.read(bytes)
    if !problems.isEmpty { return nil }
    json = document
  }

  /// The member of this name; nil if there is none.
  public subscript(name: String) -> AdminReply? { json[name].map(AdminReply.init(json:)) }

  /// The items of a list; empty for anything else.
  public var items: [AdminReply] { (json.items ?? []).map(AdminReply.init(json:)) }

  /// A string, number or boolean as text for a terminal; empty for null, lists and objects.
  /// Control characters are escaped, because clients chose many of these bytes.
  public var text: String {
    switch json.value {
    case .string(let text): Self.printable(text)
    case .number(let text): text
    case .bool(let flag): "\(flag)"
    case .null, .list, .object, .unreadable: ""
    }
  }

  private static func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      if scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) {
        result += JSON.quoted(String(scalar)).dropFirst().dropLast()
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
