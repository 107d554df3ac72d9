// What the connections of a worker share, since only one of them is driven at a time: the heads
// that were read last, scratch memory, and the budget by which receive windows grow.

public import HTTP
import Primitives

public struct HTTP2Workspace: ~Copyable {
  var requestReader = RequestReader()
  var responseReader = ResponseReader()
  var trailerReader = TrailerReader()
  var fieldWriter = FieldWriter()
  /// Strings that were Huffman-encoded.
  var strings = ByteBuffer()
  /// For a field block that comes in several frames, or goes in several.
  var spareBlock = ByteBuffer()

  /// Bytes by which the windows of all connections of the worker may still grow beyond their first
  /// size.
  public var windowBudget: Int

  public init(windowBudget: Int = 64 * 1024 * 1024) {
    self.windowBudget = windowBudget
  }

  /// The head that came with the last `request` event.
  public var request: RequestHead {
    _read { yield requestReader.head }
    _modify { yield &requestReader.head }
  }

  /// The head that came with the last `response` event.
  public var response: ResponseHead {
    _read { yield responseReader.head }
    _modify { yield &responseReader.head }
  }

  /// The fields that came with the last `trailers` event.
  public var trailers: FieldBlock {
    _read { yield trailerReader.fields }
    _modify { yield &trailerReader.fields }
  }
}
