// Error pages: which file replaces Martlet's own page for which statuses.
//
// This only checks the names; the server reads the files.

extension Configuration {
  public struct ErrorPage: Hashable, Sendable {
    /// The type of the file, by the end of its name.
    public enum Kind: String, Sendable, CaseIterable {
      case html, text, json, xml

      var extensions: [String] {
        switch self {
        case .html: ["html", "htm"]
        case .text: ["txt"]
        case .json: ["json"]
        case .xml: ["xml"]
        }
      }
    }

    /// One status, or all of 400-499 or 500-599.
    public let statuses: ClosedRange<Int>
    public let path: String
    public let kind: Kind

    /// Larger files are refused, because a response is held in memory as a whole.
    public static let byteCountMax = 64 * 1024

    /// As written in the file: 503 or 5xx.
    public var statusText: String {
      statuses.count == 1 ? "\(statuses.lowerBound)" : "\(statuses.lowerBound / 100)xx"
    }
  }
}

extension Form where Value == [Configuration.ErrorPage] {
  /// An object from statuses to files.
  static var errorPages: Form {
    let description = FormDescription(
      noun: "an object",
      allowed: "each key is a status such as \"503\" or a class such as \"5xx\", each value the"
        + " path of a file",
      kind: "object of paths",
      schema: [
        "type": "object",
        "propertyNames": ["pattern": "^([45]xx|[45][0-9][0-9])$"],
        "additionalProperties": [
          "type": "string", "pattern": "[.](html|htm|txt|json|xml)$",
        ],
      ])
    return Form(description) { json, decoder in
      guard case .object(let members) = json.value else {
        decoder.mismatch(json, description)
        return nil
      }
      let pages = members.compactMap { member in
        decoder.within(member.name, member.value) { decoder -> Configuration.ErrorPage? in
          guard let statuses = errorStatuses(member.name) else {
            decoder.report(
              "\(JSON.quoted(member.name)) is not the status of an error; write one from \"400\" to"
                + " \"599\", or \"4xx\" or \"5xx\" for a class",
              at: member.nameOrigin)
            return nil
          }
          guard let path = Form<String>.file.read(member.value, &decoder) else { return nil }
          guard let kind = pageKind(path) else {
            decoder.report(
              "\(member.value.brief): unknown file type; the name must end in .html, .htm, .txt,"
                + " .json or .xml", at: member.value.origin)
            return nil
          }
          return Configuration.ErrorPage(statuses: statuses, path: path, kind: kind)
        }
      }
      // Sorted, so that the order of the file doesn't matter.
      return pages.sorted { $0.statusText < $1.statusText }
    } write: {
      .object($0.map { ($0.statusText, .string($0.path)) })
    }
  }
}

private func errorStatuses(_ text: String) -> ClosedRange<Int>? {
  if text == "4xx" { return 400...499 }
  if text == "5xx" { return 500...599 }
  guard text.utf8.count == 3, let status = UInt16(text), (400...599).contains(status) else {
    return nil
  }
  return Int(status)...Int(status)
}

private func pageKind(_ path: String) -> Configuration.ErrorPage.Kind? {
  let name = path.lowercased()
  return Configuration.ErrorPage.Kind.allCases.first { kind in
    kind.extensions.contains { name.hasSuffix(".\($0)") }
  }
}
