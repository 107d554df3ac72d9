// The thread that writes the access log of all workers, so that no worker ever waits for a disk.
//
// Each worker appends whole lines to its own ring. The writer takes from the rings in turn and
// writes directly from their memory. If a ring is full, because the target is slow, full or closed,
// the line is dropped and the worker counts it. The lines in the rings wait until the target
// accepts bytes again. While a reader has stopped, orders are still carried out: the thread waits
// for the reader and for orders.
//
// After each round the writer pauses for 10 ms, so that it writes many lines at once and the
// workers signal it at most a hundred times per second. Without lines it sleeps.

import Primitives
import Reactor
import Synchronization

final class AccessLogWriter: Sendable {
  /// What is worth a line in the process log. Each failure is told once, until it is over.
  enum Event: Equatable, Sendable {
    /// Lines can't be written; they wait in the rings, and are dropped when these are full.
    case failed(SystemError)
    case recovered
    /// The reader of the pipe or the socket has read nothing for a second.
    case stalled
    /// The file couldn't be opened anew; the old one stays in use.
    case reopenFailed(SystemError)
  }

  /// 1 MiB per worker: some thousand lines, for a second or so of a stalled disk.
  static let defaultRingByteCount = 1 << 20

  private let desk: Desk
  private let thread: Thread

  /// Starts the thread; `report` is called on it. Without an output, appended lines are dropped
  /// until there is one.
  init(
    _ output: LogOutput?, producerCount: Int, ringByteCount: Int = defaultRingByteCount,
    report: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    let desk = Desk(
      wakeUp: try WakeUp(),
      rings: (0..<producerCount).map { _ in ByteRing(capacity: ringByteCount) }, output: output)
    self.desk = desk
    thread = try Thread(name: "access-log") {
      var loop = WritingLoop(desk: desk, report: report)
      loop.run()
    }
  }

  deinit { stop(atMost: .zero) }

  /// The end of worker `index`, to be used by that worker alone.
  func producer(_ index: Int) -> Producer { Producer(ring: desk.rings[index], desk: desk) }

  /// Opens the file anew by the same path; for rotation.
  func reopen() {
    order { order in
      // A file that is still to be taken up may have been moved away already.
      if case .write(let output, _) = order {
        order = .write(to: output, thenReopen: true)
      } else {
        order = .reopen
      }
    }
  }

  /// Writes to another output from now on. Without one, writes what was appended and then drops
  /// lines.
  func write(to output: LogOutput?) { order { $0 = .write(to: output, thenReopen: false) } }

  private func order(_ change: (inout Order?) -> Void) {
    desk.order.withLock { change(&$0) }
    desk.wakeUp.signal()
  }

  /// Writes what was appended before this call, ends the thread, and returns whether that was done
  /// within `limit`; a target that blocks may keep it from ever happening. Stop the workers first.
  @discardableResult
  func stop(atMost limit: TimeSpan = .seconds(5)) -> Bool {
    desk.isStopping.store(true, ordering: .releasing)
    desk.wakeUp.signal()
    return thread.join(atMost: limit)
  }

  /// Whether the writer waits to be woken by the next line. For tests.
  var isAsleep: Bool { desk.isAsleep.load(ordering: .acquiring) }

  /// A worker's end of the log.
  struct Producer: Sendable {
    fileprivate let ring: ByteRing
    fileprivate let desk: Desk

    /// Appends a line, which brings its own newline. False: it was dropped, and is to be counted.
    func append(_ line: Span<UInt8>) -> Bool {
      if !ring.append(line) { return false }
      // Either this thread sees the writer asleep, or the writer sees the line before it sleeps.
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      if desk.isAsleep.load(ordering: .relaxed)
        && desk.isAsleep.exchange(false, ordering: .relaxed)
      {
        desk.wakeUp.signal()
      }
      return true
    }
  }
}

/// What the thread is to do before it goes on.
private enum Order {
  case reopen
  case write(to: LogOutput?, thenReopen: Bool)
}

/// What the writer's thread shares with everyone else.
private final class Desk: Sendable {
  let rings: [ByteRing]
  let wakeUp: WakeUp
  /// The first file comes as the first order: what the thread's closure captured would stay open as
  /// long as the thread lives, also when the log has been rotated.
  let order: Mutex<Order?>
  let isAsleep = Atomic<Bool>(false)
  let isStopping = Atomic<Bool>(false)

  init(wakeUp: WakeUp, rings: [ByteRing], output: LogOutput?) {
    self.wakeUp = wakeUp
    self.rings = rings
    order = Mutex(.write(to: output, thenReopen: false))
  }
}

/// What the thread does.
private struct WritingLoop {
  private static let pause = TimeSpan.milliseconds(10)
  private static let retryInterval = TimeSpan.seconds(1)
  /// After a round of this size more is likely to be there already, so there is no pause.
  private static let busyByteCount = 256 * 1024

  /// Where lines go.
  enum Output {
    case open(LogOutput)
    /// Until the rings are empty.
    case ending(LogOutput)
    case none

    var current: LogOutput? {
      switch self {
      case .open(let output), .ending(let output): output
      case .none: nil
      }
    }
  }

  let desk: Desk
  var output = Output.none
  let report: @Sendable (AccessLogWriter.Event) -> Void
  /// The ring to write from next. After a failure it stands still: half a line may be written.
  private var current = 0
  private var isFailing = false
  /// The target accepts no bytes without waiting.
  private var isBlocked = false

  init(desk: Desk, report: @escaping @Sendable (AccessLogWriter.Event) -> Void) {
    self.desk = desk
    self.report = report
  }

  mutating func run() {
    while true {
      // Asked before the round, so that this round takes all that was appended before the stop.
      let isLast = desk.isStopping.load(ordering: .acquiring)
      takeOrder()
      do throws(SystemError) {
        let written = try writeRound()
        if isFailing && written > 0 {
          isFailing = false
          report(.recovered)
        }
        if isBlocked {
          waitForReader()
          continue
        }
        if isLast { return }
        if written == 0 {
          if case .ending = output { output = .none }
          sleep()
        } else if written < Self.busyByteCount {
          desk.wakeUp.wait(atMost: Self.pause)
        }
      } catch {
        if !isFailing { report(.failed(error)) }
        isFailing = true
        if isLast { return }
        desk.wakeUp.wait(atMost: Self.retryInterval)
      }
    }
  }

  /// Writes what each ring holds at its turn, so that a busy one can't keep the others waiting.
  private mutating func writeRound() throws(SystemError) -> Int {
    var total = 0
    isBlocked = false
    for _ in desk.rings {
      let ring = desk.rings[current]
      var left = ring.count
      while left > 0 {
        let output = output.current
        let count = try ring.take(atMost: left) { bytes throws(SystemError) in
          try output?.offer(bytes) ?? bytes.count
        }
        isBlocked = count == 0
        if isBlocked { return total }
        left -= count
        total += count
      }
      current = (current + 1) % desk.rings.count
    }
    return total
  }

  /// Waits until the target accepts bytes, or there is an order. Lines are still added to the
  /// rings.
  private mutating func waitForReader() {
    guard let output = output.current else { return }
    if output.wait(or: desk.wakeUp, atMost: isFailing ? nil : Self.retryInterval) { return }
    isFailing = true
    report(.stalled)
  }

  private func sleep() {
    desk.isAsleep.store(true, ordering: .relaxed)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if desk.rings.allSatisfy({ $0.count == 0 }) { desk.wakeUp.wait() }
    desk.isAsleep.store(false, ordering: .relaxed)
  }

  private mutating func takeOrder() {
    let order = desk.order.withLock { order in
      defer { order = nil }
      return order
    }
    switch order {
    case .write(let fresh?, let reopens):
      output = .open(fresh)
      if reopens { reopen() }
    case .write(nil, _):
      if case .open(let former) = output { output = .ending(former) }
    case .reopen: reopen()
    case nil: break
    }
  }

  private mutating func reopen() {
    guard case .open(let former) = output else { return }
    do throws(SystemError) {
      output = .open(try former.reopened())
    } catch {
      report(.reopenFailed(error))
    }
  }
}
