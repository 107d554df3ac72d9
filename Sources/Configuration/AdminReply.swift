// What the admin interface answers, as the commands read it: JSON values by name and place.
//
// It only reads; what the admin interface is given is in AdminInput.swift.

/// A JSON value of an answer of the admin interface.
public struct AdminReply: Sendable {
  private let json: JSON

  private init(json: JSON) { self.json = json }

  /// Nil for what is not JSON.
  public init?(_ bytes: [UInt8]) {
    let (document, problems) = JSONReader.read(bytes)
    if !problems.isEmpty { return nil }
    json = document
  }

  /// The member of this name; nil where there is none.
  public subscript(name: String) -> AdminReply? { json[name].map(AdminReply.init(json:)) }

  /// The items of a list; none for anything else.
  public var items: [AdminReply] { (json.items ?? []).map(AdminReply.init(json:)) }

  /// A string, a number or a flag as text for a terminal; empty for null, lists and objects.
  /// Controls are escaped, since a client chose many of these bytes.
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
