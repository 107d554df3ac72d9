// The sessions of all workers, on their way to another process.
//
// Each worker puts its own in, and takes nothing from their sockets any more. The last one calls
// back. Then a thread sends them, since the other process may be slow to receive.

import Logging
import Primitives
import Reactor
import Synchronization

final class SessionParcel: Sendable {
  private struct Content {
    var sessions: [SessionState] = []
    var missingCount: Int
  }

  private let content: Mutex<Content>
  private let sender = Mutex<Thread?>(nil)
  private let complete: @Sendable ([SessionState]) -> Thread?

  /// `complete` is called on the thread of a worker, and returns the thread that sends.
  init(workers: Int, complete: @escaping @Sendable ([SessionState]) -> Thread?) {
    content = Mutex(Content(missingCount: workers))
    self.complete = complete
  }

  /// The sessions of one worker; exactly once for each.
  func add(_ sessions: [SessionState]) {
    let all: [SessionState]? = content.withLock { content in
      content.sessions += sessions
      content.missingCount -= 1
      return content.missingCount == 0 ? content.sessions : nil
    }
    guard let all else { return }
    let thread = complete(all)
    sender.withLock { $0 = thread }
  }

  /// Waits until all are sent: this process must not end before. All workers must have added their
  /// sessions.
  func waitUntilSent() { sender.withLock { $0 }?.join() }

  /// A receiver that gets nothing for so long takes what it has, and a sender gives up.
  private static var patience: TimeSpan { .seconds(10) }

  /// Sends sessions, and closes their sockets here. Throws EPIPE if the other process takes none.
  static func send(_ sessions: [SessionState], over channel: Descriptor) throws(SystemError) {
    channel.limitWaits(to: patience)
    defer { for session in sessions { session.socket.close() } }
    var place = 0
    while place < sessions.count {
      let part = sessions[place..<min(place + Descriptor.passedMax, sessions.count)]
      try channel.send(
        Array(part.map(\.line).joined().utf8), passing: part.map(\.socket.descriptor))
      place += part.count
    }
  }

  /// Receives what the other process sends, up to the end.
  static func receive(over channel: Descriptor) -> [SessionState] {
    channel.limitWaits(to: patience)
    var text: [UInt8] = []
    var sockets: [Socket] = []
    while let (bytes, descriptors) = try? channel.receive(), !bytes.isEmpty {
      text += bytes
      sockets += descriptors.map { Socket(descriptor: $0) }
    }
    // A line without an end is no session.
    let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
    var sessions: [SessionState] = []
    for (line, socket) in zip(lines, sockets) {
      if let session = SessionState(line, socket: socket) {
        sessions.append(session)
      } else {
        socket.close()
      }
    }
    for socket in sockets.dropFirst(lines.count) { socket.close() }
    return sessions
  }
}

extension Server {
  /// The other process serves: gives it the sessions of UDP listeners.
  func handOverSessions(to successor: Successor) {
    let channel = successor.channel
    let logger = logger
    let parcel = SessionParcel(workers: workers.count) { sessions in
      let thread = try? Thread(name: "sessions") {
        do throws(SystemError) {
          defer { channel.hangUp() }
          try SessionParcel.send(sessions, over: channel)
        } catch {
          if sessions.isEmpty { return }
          logger.warning(
            "UDP sessions could not be given to the new process",
            metadata: ["sessions": "\(sessions.count)", "error": "\(error)"])
        }
      }
      if thread == nil {
        for session in sessions { session.socket.close() }
        channel.hangUp()
      }
      return thread
    }
    sessionParcel = parcel
    for worker in workers { worker.inbox.post(.handOver(parcel)) }
  }

  /// This process serves: receives the sessions of the other one.
  func receiveSessions(over channel: Descriptor?) {
    let inbox = self.inbox
    guard let channel,
      (try? Thread(
        name: "sessions",
        {
          inbox.post(.sessions(SessionParcel.receive(over: channel)))
        })) != nil
    else { return distribute([]) }
  }

  /// Each worker gets those whose clients send to its sockets.
  func distribute(_ sessions: [SessionState]) {
    var rest = sessions
    for (index, worker) in workers.enumerated() {
      let sockets = Set(
        listening.assignments(of: configuration, worker: index).map(\.socket.descriptor))
      worker.inbox.post(.adopt(rest.filter { sockets.contains($0.listener) }))
      rest.removeAll { sockets.contains($0.listener) }
    }
    // Of listeners that aren't configured any more.
    for session in rest { session.socket.close() }
    if !sessions.isEmpty {
      logger.notice(
        "took over UDP sessions", metadata: ["sessions": "\(sessions.count - rest.count)"])
    }
  }
}
