// Turns byte offsets of a configuration file into lines and columns.

/// The text of a file, with its name.
struct SourceText {
  /// As diagnostics show it.
  let file: String
  private let bytes: [UInt8]
  /// Offset of the first byte of each line.
  private let lineStarts: [Int]

  init(file: String, bytes: [UInt8]) {
    self.file = file
    self.bytes = bytes
    lineStarts = [0] + bytes.indices.lazy.filter { bytes[$0] == UInt8(ascii: "\n") }.map { $0 + 1 }
  }

  /// The file's directory with a slash at the end; empty if the name has none.
  var directory: String {
    file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
  }

  func place(_ origin: JSON.Origin) -> Diagnostic.Place {
    switch origin {
    case .none: return .nowhere
    case .flag(let flag): return .flag(flag)
    case .offset(let given):
      let offset = min(max(given, 0), bytes.count)
      // The last line that starts at or before the offset; the first one starts at 0.
      var low = 0
      var high = lineStarts.count
      while high - low > 1 {
        let middle = (low + high) / 2
        if lineStarts[middle] <= offset { low = middle } else { high = middle }
      }
      let column = bytes[lineStarts[low]..<offset].count { $0 & 0xC0 != 0x80 }
      return .file(file, line: low + 1, column: column + 1)
    }
  }
}
