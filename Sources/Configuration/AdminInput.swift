// Input of the admin interface and of its commands that is written as in a configuration: small
// JSON objects, addresses of backends, and durations.

public import Primitives

extension Configuration {
  /// A value that isn't a list or an object.
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

  /// The strings of the list `name` in a JSON object; empty if there is no such list.
  public static func texts(ofJSON bytes: [UInt8], under name: String) -> [String] {
    let (document, problems) = JSONReader.read(bytes)
    return problems.isEmpty ? document[name]?.items?.compactMap(\.text) ?? [] : []
  }

  /// Reads a backend's address as in a pool; the error says what is wrong with it.
  public static func backendAddress(
    _ text: String
  ) -> Result<BackendAddress, InvalidEndpoint> {
    var decoder = Decoder(source: SourceText(file: "", bytes: []), isPartial: false)
    if let address = Form<BackendAddress>.backendAddress.read(.string(text), &decoder) {
      return .success(address)
    }
    return .failure(InvalidEndpoint(message: decoder.diagnostics.first?.message ?? text))
  }

  /// Reads a duration such as "5m"; nil for anything else.
  public static func duration(_ text: String) -> TimeSpan? { parseDuration(text) }

  public struct InvalidEndpoint: Error {
    public let message: String
  }
}
