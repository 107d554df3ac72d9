// Shared by all connections of a worker, since only one of them runs at a time: the heads that were
// read last, scratch memory, and the budget for the growth of receive windows.

public import HTTP
import Primitives

public struct HTTP2Workspace: ~Copyable {
  var requestReader = RequestReader()
  var responseReader = ResponseReader()
  var trailerReader = TrailerReader()
  var fieldWriter = FieldWriter()
  /// Scratch memory for decoded literal names and values.
  var strings = ByteBuffer()
  /// For an incoming or outgoing field block in several frames.
  var spareBlock = ByteBuffer()

  /// Bytes by which the windows of all connections of the worker may still grow beyond their
  /// initial size.
  public var windowBudget: Int

  public init(windowBudget: Int = 64 * 1024 * 1024) {
    self.windowBudget = windowBudget
  }

  /// The head of the last `request` event.
  public var request: RequestHead {
    _read { yield requestReader.head }
    _modify { yield &requestReader.head }
  }

  /// The head of the last `response` event.
  public var response: ResponseHead {
    _read { yield responseReader.head }
    _modify { yield &responseReader.head }
  }

  /// The fields of the last `trailers` event.
  public var trailers: FieldBlock {
    _read { yield trailerReader.fields }
    _modify { yield &trailerReader.fields }
  }
}
