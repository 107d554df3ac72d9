// The process log: one line for each event of the process, on the standard error or in syslog. Its
// level, format and target can change at any time, from any thread.
//
// Each user has a copy of a Logger. All copies share one ProcessLog, so that a change applies to
// all of them at once.

public import Configuration
public import Logging
import Primitives
import Reactor
import Synchronization

/// What all copies share.
public final class ProcessLog: Sendable {
  private let levelPlace: Atomic<Int>
  private let isJSON: Atomic<Bool>
  /// Nil for the standard error.
  private let syslog = Mutex<SyslogWriter?>(nil)

  /// Writes to the standard error until `setTarget`.
  public init(_ log: Configuration.Log) {
    levelPlace = Atomic(Self.place(of: log.level))
    isJSON = Atomic(log.format == .json)
  }

  /// The lowest level that is logged.
  public var level: Configuration.Log.Level {
    get { Configuration.Log.Level.allCases[levelPlace.load(ordering: .relaxed)] }
    set { levelPlace.store(Self.place(of: newValue), ordering: .relaxed) }
  }

  public var format: Configuration.Log.Format {
    get { isJSON.load(ordering: .relaxed) ? .json : .text }
    set { isJSON.store(newValue == .json, ordering: .relaxed) }
  }

  private static func place(of level: Configuration.Log.Level) -> Int {
    Configuration.Log.Level.allCases.firstIndex(of: level) ?? 0
  }

  /// Lines that syslog does not accept go to the standard error.
  func setTarget(_ target: Configuration.Log.ProcessTarget) {
    var fresh: SyslogWriter?
    if case .syslog(let address) = target {
      fresh = SyslogWriter(to: address, id: "process")
    }
    syslog.withLock { $0 = fresh.take() }
  }

  /// Writes a line, at any level.
  public func write(
    _ level: Logger.Level, _ message: String, _ metadata: [(key: String, value: String)] = []
  ) {
    let line = ProcessLogLine(level: "\(level)", message: message, metadata: metadata)
    let format = format
    let isSent = syslog.withLock { writer in
      if writer == nil { return false }
      var text = ByteBuffer()
      line.write(format, hasTime: format == .json, to: &text)
      return (try? writer?.send(text.bytes, SyslogWriter.Severity(level))) ?? false
    }
    if isSent { return }
    // Also if syslog does not accept the line: no line is lost without a trace.
    var text = ByteBuffer()
    line.write(format, hasTime: true, to: &text)
    text.append(0x0A)
    StandardError.shared.write(String(decoding: text))
  }
}

/// Connects swift-log to a `ProcessLog`.
public struct ProcessLogHandler: LogHandler {
  private let log: ProcessLog
  public var metadata: Logger.Metadata = [:]

  public init(_ log: ProcessLog) { self.log = log }

  /// The same for all copies; one copy alone cannot have its own level.
  public var logLevel: Logger.Level {
    get { Logger.Level(log.level) }
    set {}
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    let all = metadata.merging(event.metadata ?? [:]) { _, own in own }
    let pairs = all.sorted { $0.key < $1.key }.map { (key: $0.key, value: "\($0.value)") }
    log.write(event.level, "\(event.message)", pairs)
  }
}

extension Logger.Level {
  init(_ level: Configuration.Log.Level) {
    self =
      switch level {
      case .debug: .debug
      case .info: .info
      case .warning: .warning
      case .error: .error
      }
  }
}

extension SyslogWriter.Severity {
  fileprivate init(_ level: Logger.Level) {
    self =
      switch level {
      case .trace, .debug: .debug
      case .info: .info
      case .notice: .notice
      case .warning: .warning
      case .error, .critical: .error
      }
  }
}
