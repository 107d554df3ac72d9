// Answers without an end: the state every second, and exchanges as they end.
//
// A client that doesn't read costs one event, or `AdminLimits.streamByteCountMax` of exchanges:
// events are left out until it has taken the last one, and a stream of exchanges ends, since a gap
// in it would not show. Either ends when something has waited for too long (`AdminWait.reader`).

import HTTP
import HTTP1
import Primitives
import Reactor

extension AdminServer {
  private static var tapInterval: TimeSpan { .milliseconds(100) }
  /// Backends that an event tells of, for each pool.
  private static let eventBackendMax = 500

  /// Sends the head. Nil when there is to be no stream: HEAD asks for the head alone (RFC 9110
  /// 9.3.2), and there may be too many.
  mutating func beginStream(
    _ contentType: String, _ right: AdminRight, to handle: Handle, _ request: AdminRequest
  ) -> BodyEncoder? {
    guard hasPlaceForStream(connections[handle].access) else {
      send(.tooManyStreams, to: handle, request)
      return nil
    }
    let isHead = request.method == "HEAD"
    let persists = isHead && request.persists && !isOutdated(handle)
    var head = responseHead(200, contentType)
    // So that the page can tell before somebody presses a button.
    let word = right == .change ? "change" : "look"
    head.fields.append(name: Array("Martlet-Right".utf8).span, value: Array(word.utf8).span)
    var text = ByteBuffer()
    let framing = head.encode(
      for: request.version, body: .streamed, connection: persists ? .keepAlive : .close,
      into: &text)
    connections[handle].transport.write(text, &io, &buffers)
    if !isHead { return BodyEncoder(framing) }
    connections[handle].phase = persists ? .awaitingHead : .ending
    if !persists { connections[handle].transport.writeCloseNotify(&buffers) }
    return nil
  }

  private func hasPlaceForStream(_ access: AdminAccess) -> Bool {
    var count = 0
    for slot in 0..<connections.slotCount {
      if let handle = connections.handle(at: slot), connections[handle].isStreaming { count += 1 }
    }
    return count < (access.isLocal ? AdminLimits.streamMax : AdminLimits.addressStreamMax)
  }

  private mutating func sendPiece(_ bytes: [UInt8], to handle: Handle, _ encoder: BodyEncoder) {
    if bytes.isEmpty { return }
    var text = ByteBuffer()
    encoder.beginPiece(count: bytes.count, into: &text)
    text.append(bytes.span)
    encoder.endPiece(count: bytes.count, into: &text)
    makeRoom(for: text.count, of: handle)
    connections[handle].transport.write(text, &io, &buffers)
    connections[handle].transport.flush(&io, &buffers)
    connections[handle].updateDeadline(at: io.now)
  }

  // MARK: States

  mutating func sendEvents() {
    var event: [UInt8]?
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot),
        case .stateEvents(let encoder) = connections[handle].phase,
        connections[handle].transport.isFlushed
      else { continue }
      // The same for all of them.
      let bytes = event ?? stateEvent()
      event = bytes
      sendPiece(bytes, to: handle, encoder)
    }
  }

  mutating func sendState(to handle: Handle) {
    guard case .stateEvents(let encoder) = connections[handle].phase else { return }
    sendPiece(stateEvent(), to: handle, encoder)
  }

  private func stateEvent() -> [UInt8] {
    var report = StateReport(view: view, history: history, now: io.now)
    report.backendMax = Self.eventBackendMax
    var json = JSONWriter()
    json.object { json in
      report.write(to: &json)
      if let moment = history.moments.last {
        json.object("second") { moment.write(to: &$0) }
      }
    }
    return Array("data: ".utf8) + json.bytes + Array("\n\n".utf8)
  }

  // MARK: Exchanges

  /// Gives what the workers have reported to those who tap, and stops the workers when nobody does.
  mutating func forwardTapped() {
    var taps: [(Handle, TapFilter, BodyEncoder)] = []
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot),
        case .tap(let filter, let encoder) = connections[handle].phase
      else { continue }
      taps.append((handle, filter, encoder))
    }
    if taps.isEmpty {
      if tapsAt != .never { for reports in view.process.reports { reports.setTapped(false) } }
      tapsAt = .never
      return
    }
    if tapsAt != .never && io.now < tapsAt { return }
    tapsAt = io.now + Self.tapInterval
    let lines = view.process.reports.flatMap { $0.takeTapped() }
    for (handle, filter, encoder) in taps {
      var text: [UInt8] = []
      for line in lines where filter.passes(line) {
        if text.count + line.count >= AdminLimits.tapByteCountMax { break }
        text += line + [0x0A]
      }
      guard connections.contains(handle) else { continue }
      let held = connections[handle].transport.heldByteCount
      if held + text.count > AdminLimits.streamByteCountMax {
        close(handle)
      } else {
        sendPiece(text, to: handle, encoder)
      }
    }
  }
}
