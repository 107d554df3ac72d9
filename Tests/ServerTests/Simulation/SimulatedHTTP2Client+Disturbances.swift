// What a simulated HTTP/2 client does besides its requests: other settings, PING, pauses, GOAWAY,
// and violations of the protocol.

import Primitives

@testable import HTTP2

extension SimulatedHTTP2Client {
  func disturb() {
    while let next = disturbances.first, next.time <= network.now {
      disturbances.removeFirst()
      if violation != nil || codec.isBroken { continue }
      network.note("client \(number): \(next.kind)")
      carryOut(next.kind)
    }
    if let next = disturbances.first { wake(after: next.time - network.now) }
  }

  private func carryOut(_ kind: Disturbance.Kind) {
    switch kind {
    case .window(let size, let span):
      // The server may stop in the middle until the old window is back.
      if span > Disturbance.longPause { becomeSlow() }
      // The codec doesn't know of other settings, and refuses what goes beyond its own.
      write(.initialWindowSize, min(size, UInt32(conduct.streamWindow)))
      let end = Disturbance(time: network.now + span, kind: .windowRestored)
      let place = disturbances.firstIndex { $0.time > end.time } ?? disturbances.endIndex
      disturbances.insert(end, at: place)
    case .windowRestored: write(.initialWindowSize, UInt32(conduct.streamWindow))
    case .tableSize(let size):
      write(.headerTableSize, min(size, UInt32(limits.decoderTableByteCount)))
    case .frameSize(let size): write(.maxFrameSize, size)
    case .emptySettings: frame(FrameType.settings, 0, 0, [])
    case .ping:
      if codec.sendPing(at: network.now, into: &output) {
        pingSentAt = network.now
        wake(after: .seconds(31))
      }
    case .unknownFrame: frame(0xEE, 0xFF, random.pick([0, 1, 2, 77]), [1, 2, 3])
    case .priority: frame(FrameType.priority, 0, 1, [0, 0, 0, 3, 7])
    case .priorityUpdate:
      frame(FrameType.priorityUpdate, 0, 0, [0, 0, 0, 5] + Array("u=1, i".utf8))
    case .deafness(let span):
      if span > Disturbance.longPause { becomeSlow() }
      deafUntil = max(deafUntil, network.now + span)
    case .goAway: codec.beginDrain(at: network.now, into: &output)
    case .streamCount: break
    case .violation(let kind):
      kind.write(next: codec.nextStream, into: &output)
      violation = (kind, network.now)
      isLast = true
      disturbances = []
      deafUntil = .origin
      for stream in streams { ledger.records[stream.id].mayBeCut = true }
      wake(after: .seconds(101))
    }
  }

  /// From now on, the server may take the client for dead.
  private func becomeSlow() {
    mayBeCut = true
    for stream in streams { ledger.records[stream.id].clientMayStall = true }
  }

  private func write(_ setting: Setting, _ value: UInt32) {
    FrameHeader(length: 6, type: FrameType.settings, stream: 0).write(to: &output)
    FrameWriter.append(setting, value, into: &output)
  }

  private func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
    FrameHeader(length: payload.count, type: type, flags: flags, stream: stream)
      .write(to: &output)
    output.append(payload.span)
  }
}
