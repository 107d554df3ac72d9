// Encodes host names beyond ASCII for DNS, certificates and requests: `xn--mnchen-3ya` for münchen
// (RFC 3492, RFC 5890 2.3.2.1). Only used for suggestions, so it doesn't apply the tables of IDNA;
// the caller passes lower case.

enum Punycode {
  // RFC 3492 5.
  private static let base = 36
  private static let tMin = 1
  private static let tMax = 26
  private static let skew = 38
  private static let damp = 700
  private static let initialBias = 72
  private static let initialPoint: UInt32 = 0x80
  /// A DNS label can't be longer.
  private static let characterMax = 63

  /// The label in ASCII; unchanged if it is ASCII already. Nil if it can't be a label.
  static func label(_ text: String) -> String? {
    let points = text.unicodeScalars.map(\.value)
    if points.allSatisfy({ $0 < initialPoint }) { return text }
    // IDNA would combine a separate mark with its letter; this code doesn't.
    let hasMarks = text.unicodeScalars.contains {
      $0.properties.canonicalCombiningClass != .notReordered
    }
    guard points.count <= characterMax, !hasMarks else { return nil }
    return "xn--" + encode(points)
  }

  /// RFC 3492 6.3; the sums stay small, since labels are short.
  private static func encode(_ points: [UInt32]) -> String {
    var output = points.filter { $0 < initialPoint }
    let basicCount = output.count
    if basicCount > 0 { output.append(0x2D) }
    var point = initialPoint
    var delta = 0
    var bias = initialBias
    var handled = basicCount
    while handled < points.count {
      let next = points.lazy.filter { $0 >= point }.min() ?? point
      delta += Int(next - point) * (handled + 1)
      point = next
      for other in points {
        if other < point { delta += 1 }
        guard other == point else { continue }
        output += digits(of: delta, bias: bias)
        bias = adapted(delta, count: handled + 1, isFirst: handled == basicCount)
        delta = 0
        handled += 1
      }
      delta += 1
      point += 1
    }
    return String(String.UnicodeScalarView(output.compactMap(Unicode.Scalar.init)))
  }

  private static func digits(of delta: Int, bias: Int) -> [UInt32] {
    var digits: [UInt32] = []
    var rest = delta
    var step = base
    while true {
      let threshold = min(max(step - bias, tMin), tMax)
      if rest < threshold { break }
      digits.append(digit(threshold + (rest - threshold) % (base - threshold)))
      rest = (rest - threshold) / (base - threshold)
      step += base
    }
    return digits + [digit(rest)]
  }

  /// a to z, then 0 to 9.
  private static func digit(_ value: Int) -> UInt32 {
    UInt32(value < 26 ? 0x61 + value : 0x16 + value)
  }

  private static func adapted(_ delta: Int, count: Int, isFirst: Bool) -> Int {
    var delta = isFirst ? delta / damp : delta / 2
    delta += delta / count
    var step = 0
    while delta > (base - tMin) * tMax / 2 {
      delta /= base - tMin
      step += base
    }
    return step + (base - tMin + 1) * delta / (delta + skew)
  }
}
