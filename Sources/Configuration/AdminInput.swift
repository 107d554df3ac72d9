// What the admin interface and its commands are given in the forms of the configuration: small JSON
// objects, addresses of backends, and durations.

public import Primitives

extension Configuration {
  /// A value that isn't made of others.
  public enum SimpleValue: Hashable, Sendable {
    case text(String)
    case number(Int)
    case flag(Bool)
    case null
  }

  /// The members of a JSON object of simple values, in their order; nil for anything else.
  public static func simpleMembers(ofJSON bytes: [UInt8]) -> [(String, SimpleValue)]? {
    let (document, problems) = JSONReader.read(bytes)
    guard problems.isEmpty, case .object(let members) = document.value else { return nil }
    var result: [(String, SimpleValue)] = []
    for member in members {
      let value: SimpleValue
      switch member.value.value {
      case .string(let text): value = .text(text)
      case .bool(let flag): value = .flag(flag)
      case .null: value = .null
      case .number(let text):
        guard let number = Int(text) else { return nil }
        value = .number(number)
      case .list, .object, .unreadable: return nil
      }
      result.append((member.name, value))
    }
    return result
  }

  /// The texts of a list that is a member of a JSON object; none where there is no such list.
  public static func texts(ofJSON bytes: [UInt8], under name: String) -> [String] {
    let (document, problems) = JSONReader.read(bytes)
    return problems.isEmpty ? document[name]?.items?.compactMap(\.text) ?? [] : []
  }

  /// A backend's address as a pool would have it; the error tells what is wrong with it.
  public static func endpoint(_ text: String) -> Result<Endpoint, InvalidEndpoint> {
    var decoder = Decoder(source: SourceText(file: "", bytes: []), isPartial: false)
    if let endpoint = Form<Endpoint>.endpoint.read(.string(text), &decoder) {
      return .success(endpoint)
    }
    return .failure(InvalidEndpoint(message: decoder.diagnostics.first?.message ?? text))
  }

  /// A duration as configurations write it, such as "5m"; nil for anything else.
  public static func duration(_ text: String) -> TimeSpan? { parseDuration(text) }

  public struct InvalidEndpoint: Error {
    public let message: String
  }
}
