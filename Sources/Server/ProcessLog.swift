// The process log: swift-log's lines on the standard error, with a level that can be changed while
// everybody writes. A Logger is copied to whoever writes, and each copy of swift-log's own handler
// would keep the level that it was copied with. No thread waits for the reader of the stream.

public import Configuration
public import Logging
import Reactor
import Synchronization

/// The least important messages that are shown, for the whole process.
public final class LogLevel: Sendable {
  private let place: Atomic<Int>

  public init(_ level: Configuration.Log.Level) { place = Atomic(Self.place(of: level)) }

  public var current: Configuration.Log.Level {
    get { Configuration.Log.Level.allCases[place.load(ordering: .relaxed)] }
    set { place.store(Self.place(of: newValue), ordering: .relaxed) }
  }

  private static func place(of level: Configuration.Log.Level) -> Int {
    Configuration.Log.Level.allCases.firstIndex(of: level) ?? 0
  }
}

public struct ProcessLogHandler: LogHandler {
  private var stream: StreamLogHandler
  private let level: LogLevel

  public init(label: String, level: LogLevel) {
    stream = StreamLogHandler(label: label, stream: StandardError.shared)
    // What is shown is decided here.
    stream.logLevel = .trace
    self.level = level
  }

  /// The same for all; a level for one copy alone can't be set.
  public var logLevel: Logger.Level {
    get { Logger.Level(level.current) }
    set {}
  }

  public var metadata: Logger.Metadata {
    get { stream.metadata }
    set { stream.metadata = newValue }
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { stream[metadataKey: key] }
    set { stream[metadataKey: key] = newValue }
  }

  public func log(event: LogEvent) { stream.log(event: event) }
}

extension Logger.Level {
  fileprivate init(_ level: Configuration.Log.Level) {
    self =
      switch level {
      case .debug: .debug
      case .info: .info
      case .warning: .warning
      case .error: .error
      }
  }
}
