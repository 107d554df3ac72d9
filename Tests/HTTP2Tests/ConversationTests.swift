// Properties of whole conversations between our client and our server (see Conversation.swift).

import Foundation
import Primitives
import Testing

@testable import HTTP2

@Suite struct ConversationTests {
  /// MARTLET_HTTP2_SEEDS and MARTLET_HTTP2_FROM change the seeds.
  private static let seedCount = setting("MARTLET_HTTP2_SEEDS") ?? 60
  private static let firstSeed = setting("MARTLET_HTTP2_FROM") ?? 1

  private static func setting(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
  }

  private final class Conversation {
    var random: RandomGenerator
    var now = Instant(nanoseconds: 1_000_000_000)
    let client: Endpoint
    let server: Endpoint
    private var hasDrained = false
    /// Whether each side was sent initial windows that our connection doesn't know of.
    private var hasInjected = [false, false]

    init(seed: UInt64) {
      var random = RandomGenerator(seed: seed)
      func limits() -> HTTP2Limits {
        var limits = HTTP2Limits()
        limits.streamWindow = [1, 2, 100, 65_536][random.next(below: 4)]
        limits.streamWindowMax = max(limits.streamWindow, [1, 500, 1 << 20][random.next(below: 3)])
        limits.streamCount = [1, 3, 100][random.next(below: 3)]
        limits.decoderTableByteCount = [0, 100, 4096][random.next(below: 3)]
        limits.encoderTableByteCount = [0, 100, 4096][random.next(below: 3)]
        limits.frameByteCount = [1, 50, 16_384][random.next(below: 3)]
        // Tiny windows need many updates, and seeds cause more resets than real clients do.
        let all = FloodLimit(burst: 1 << 30, perSecond: 1)
        limits.floods.windowUpdate = all
        limits.floods.reset = all
        limits.floods.refusal = all
        limits.floods.settings = all
        limits.floods.closedStreamFrame = all
        limits.floods.causedReset = all
        limits.controlBacklogCount = 1 << 30
        return limits
      }
      client = Endpoint(.client, limits(), at: now)
      server = Endpoint(.server, limits(), at: now)
      self.random = random
    }

    private func size() -> Int {
      [0, 1, 10, 1000, 30_000][random.next(below: 5)]
    }

    private func pick(_ side: Endpoint) -> UInt32? {
      let streams = side.exchanges.keys.sorted()
      return streams.isEmpty ? nil : streams[random.next(below: streams.count)]
    }

    /// Moves some of the output of one side to the other.
    func move(_ from: Endpoint, _ to: Endpoint, _ limit: Int) {
      let count = min(limit, from.output.count)
      if count > 0 {
        to.input += from.output.array(0..<count)
        from.output.consume(count)
      }
      to.receive(at: now)
    }

    func step() {
      now = now + .milliseconds(Int64(random.next(below: 20)))
      let cut = [1, 7, 100, 1 << 20][random.next(below: 4)]
      switch random.next(below: 24) {
      case 0...4: move(client, server, cut)
      case 5...9: move(server, client, cut)
      case 10, 11: client.open(size(), withTrailers: random.chance(1, in: 4))
      case 12, 13:
        if let stream = pick(server) {
          server.answer(
            stream, size(), withTrailers: random.chance(1, in: 4),
            isInterim: random.chance(1, in: 4))
        }
      case 14...16: (random.chance(1, in: 2) ? client : server).sendTurn(limit: 1 + size())
      case 17...19:
        let side = random.chance(1, in: 2) ? client : server
        if let stream = pick(side) { side.consume(stream, 1 + size()) }
      case 20:
        let side = random.chance(1, in: 2) ? client : server
        if random.chance(1, in: 3), let stream = pick(side) { side.reset(stream) }
      case 21: inject()
      case 22:
        client.releaseEnded()
        server.releaseEnded()
      default:
        if random.chance(1, in: 60) && !hasDrained {
          hasDrained = true
          server.connection.beginDrain(at: now, into: &server.output)
        } else if random.chance(1, in: 10) {
          client.connection.sendPing(at: now, into: &client.output)
        }
      }
    }

    /// New settings during the conversation, between two frames: a window of 0, 1 or many, and
    /// tables.
    private func inject() {
      let index = random.next(below: 2)
      let side = index == 0 ? client : server
      guard side.output.isEmpty, side.broken == nil else { return }
      hasInjected[index] = true
      let window = [0, 1, 50][random.next(below: 3)]
      let table = UInt32([0, 64][random.next(below: 2)])
      // Never more than the side itself has granted.
      let value = UInt32(min(window, side.connection.limits.streamWindow))
      // A table smaller than our decoder's limit is valid, too.
      let limit = UInt32(side.connection.limits.decoderTableByteCount)
      side.output.append(Wire.settings([(4, value), (1, min(table, limit))]).span)
    }

    /// Ends everything that is in progress, without further faults.
    func finish() {
      for (index, side) in [client, server].enumerated() where hasInjected[index] {
        let window = UInt32(side.connection.limits.streamWindow)
        // After complete frames: the other side has received all earlier ones.
        move(side, index == 0 ? server : client, 1 << 30)
        side.output.append(Wire.settings([(4, window)]).span)
      }
      for _ in 0..<200_000 {
        now = now + .milliseconds(1)
        for stream in Array(server.exchanges.keys) {
          server.answer(stream, 3, withTrailers: false, isInterim: false)
        }
        for side in [client, server] {
          while side.output.count < 100_000 && side.sendTurn(limit: 1 << 20) {}
          for stream in Array(side.exchanges.keys) { side.consume(stream, 1 << 20) }
          side.releaseEnded()
        }
        move(client, server, 1 << 20)
        move(server, client, 1 << 20)
        if client.exchanges.isEmpty && server.exchanges.isEmpty && client.output.isEmpty
          && server.output.isEmpty
        {
          return
        }
      }
    }
  }

  @Test func conversationsEndWithEveryByteInItsPlace() {
    for seed in Self.firstSeed..<(Self.firstSeed + Self.seedCount) {
      let conversation = Conversation(seed: UInt64(seed))
      for _ in 0..<800 { conversation.step() }
      conversation.finish()
      if let problem = verdict(conversation) {
        Issue.record("seed \(seed): \(problem)")
        return
      }
    }
  }

  private func describe(_ side: Endpoint) -> String {
    let lines = side.exchanges.map { stream, exchange in
      guard let slot = side.connection.streams.find(stream) else { return "\(stream) is gone" }
      return "\(exchange) \(side.connection.streams[slot])"
    }
    return "\(side.role) \(side.connection.sendWindow):\n\(lines.joined(separator: "\n"))"
  }

  private func verdict(_ conversation: Conversation) -> String? {
    let (client, server) = (conversation.client, conversation.server)
    for side in [client, server] {
      if let problem = side.problems.first { return "\(side.role): \(problem)" }
      if let error = side.broken { return "\(side.role) broke: \(error.name)" }
      if !side.exchanges.isEmpty { return "\(describe(client))\n\(describe(server))" }
      if side.connection.streamCount != 0 { return "\(side.role) has streams left" }
      if side.connection.wantingCount != 0 { return "\(side.role) has senders left" }
      if side.workspace.windowBudget != HTTP2Workspace().windowBudget {
        return "\(side.role) lost \(side.workspace.windowBudget) of its budget"
      }
    }
    for (stream, sent) in client.ended {
      guard let got = server.ended[stream] else {
        // Refused, excluded by GOAWAY, or reset before it arrived.
        if !sent.isReset { return "\(stream) was lost" }
        continue
      }
      if sent.isUnprocessed { return "\(stream) was processed, and named as unprocessed" }
      for (from, to) in [(sent, got), (got, sent)] {
        if !to.isIntact { return "\(stream) is not intact" }
        if to.received > from.sent { return "\(stream) has more than was sent" }
        if !from.isReset && !to.isReset && to.received != from.wanted {
          return "\(stream) has \(to.received) of \(from.wanted) bytes"
        }
      }
    }
    for stream in server.ended.keys where client.ended[stream] == nil {
      return "\(stream) came from nowhere"
    }
    return nil
  }

  // MARK: Resets at each point

  @Test(arguments: [true, false])
  func aResetAtEachPointLeavesNothingBehind(byClient: Bool) {
    // A conversation of one exchange, step by step; each run is interrupted at another step.
    for point in 0..<40 {
      let now = Instant(nanoseconds: 1_000_000_000)
      let client = Endpoint(.client, HTTP2Limits(), at: now)
      let server = Endpoint(.server, HTTP2Limits(), at: now)
      func move(_ from: Endpoint, _ to: Endpoint) {
        // Half of the output, so that frames are split.
        let count = (from.output.count + 1) / 2
        to.input += from.output.array(0..<count)
        from.output.consume(count)
        to.receive(at: now)
      }
      client.open(20_000, withTrailers: true)
      for step in 0..<400 {
        if step == point { (byClient ? client : server).reset(1) }
        move(client, server)
        move(server, client)
        if step == 8 { server.answer(1, 20_000, withTrailers: true, isInterim: false) }
        client.sendTurn(limit: 3000)
        server.sendTurn(limit: 3000)
        client.consume(1, 2000)
        server.consume(1, 2000)
        if step > 45 {
          client.releaseEnded()
          server.releaseEnded()
        }
      }
      #expect(client.broken == nil && server.broken == nil)
      #expect(client.problems == [] && server.problems == [])
      #expect(client.exchanges.isEmpty && server.exchanges.isEmpty, "at \(point)")
    }
  }
}
