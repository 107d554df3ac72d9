// Configuration files: the JSON reader, the decoder and the checks. Properties for any input:
//
// - There is either a configuration, or an error with a position within the text.
// - A configuration that is written and read again is the same.

import FuzzSupport
import Primitives

@testable import Configuration

@c(LLVMFuzzerTestOneInput)
public func fuzzConfigurationFile(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  let reading = Configuration.read(bytes)
  let errors = reading.diagnostics.filter { $0.severity == .error }
  require((reading.configuration == nil) == !errors.isEmpty, "neither, or both: \(errors)")
  let lineCount = 1 + bytes.count { $0 == 0x0A }
  for diagnostic in reading.diagnostics {
    require(!"\(diagnostic)".isEmpty, "an empty diagnostic")
    guard case .file(_, let line, let column) = diagnostic.place else { continue }
    require((1...lineCount).contains(line), "line \(line) of \(lineCount)")
    require((1...bytes.count + 1).contains(column), "column \(column)")
  }
  guard let configuration = reading.configuration else { return 0 }
  require(!configuration.summary().isEmpty, "an empty summary")
  let text = configuration.json.compact
  let again = Configuration.read(Array(text.utf8))
  require(again.configuration == configuration, "\(text) reads as \(again)")
  return 0
}
