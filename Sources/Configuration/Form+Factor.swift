// Factors with decimals, and names of zones.

extension Form where Value == Int {
  /// A number with at most two decimals, which is kept in percent.
  static func factor(_ range: ClosedRange<Int>) -> Form {
    let bounds = "\(text(range.lowerBound)) to \(text(range.upperBound))"
    let description = FormDescription(
      noun: "a factor", allowed: "\(bounds) is allowed, with at most two decimals", kind: bounds,
      schema: [
        "type": "number", "minimum": JSON(.number(text(range.lowerBound))),
        "maximum": JSON(.number(text(range.upperBound))),
      ])
    return Form(description) { json, decoder in
      if case .number(let text) = json.value, let percent = percent(text) {
        if range.contains(percent) { return percent }
        decoder.report("\(json.brief) is out of range; \(bounds) is allowed", at: json.origin)
        return nil
      }
      let bare = json.text.flatMap { text in
        percent(text).flatMap { range.contains($0) ? text : nil }
      }
      decoder.mismatch(json, description, suggestion: bare)
      return nil
    } write: {
      JSON(.number(text($0)))
    }
  }

  static func text(_ percent: Int) -> String {
    let (whole, rest) = percent.quotientAndRemainder(dividingBy: 100)
    if rest == 0 { return "\(whole)" }
    return rest % 10 == 0 ? "\(whole).\(rest / 10)" : "\(whole).\(rest < 10 ? "0" : "")\(rest)"
  }

  private static func percent(_ text: String) -> Int? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = Int(parts[0]), (0...1000).contains(whole) else {
      return nil
    }
    if parts.count == 1 { return whole * 100 }
    guard (1...2).contains(parts[1].utf8.count),
      parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let rest = Int(parts[1])
    else { return nil }
    return whole * 100 + (parts[1].utf8.count == 1 ? rest * 10 : rest)
  }
}

extension Form where Value == String {
  /// The name of a zone.
  static var zone: Form {
    Form(
      text: FormDescription(
        noun: "a zone", allowed: "write its name, such as \"eu-1a\"", kind: "name",
        schema: ["type": "string", "minLength": 1])
    ) { text in
      (1...64).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        ? text : nil
    } write: {
      $0
    }
  }
}
