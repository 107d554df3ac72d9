// Whole conversations with Python's h2, in both roles: each side receives what the other sent, with
// padding, changing settings, small windows, interim heads, trailers and resets.

import Foundation
import Primitives
import Testing

@testable import HTTP2

@Suite struct H2DifferentialTests {
  @Test(arguments: 1...6)
  func aConversationWithAnotherClient(seed: Int) throws {
    try converse(.server, seed: seed)
  }

  @Test(arguments: 1...6)
  func aConversationWithAnotherServer(seed: Int) throws {
    try converse(.client, seed: seed)
  }

  private func converse(_ role: HTTP2Role, seed: Int) throws {
    var random = RandomGenerator(seed: UInt64(seed))
    let now = Instant(nanoseconds: 1_000_000_000)
    var limits = HTTP2Limits()
    limits.streamWindow = [100, 65_536][random.next(below: 2)]
    limits.streamCount = [3, 100][random.next(below: 2)]
    limits.floods.windowUpdate = FloodLimit(burst: 1 << 30, perSecond: 1)
    let ours = Endpoint(role, limits, at: now)
    let talk = try PythonPeer.Talk(
      "h2-peer.py", [role == .server ? "client" : "server", "\(seed)"])
    defer { talk.end() }
    var opened = 0
    var isDone = false
    for _ in 0..<4000 where !isDone {
      if role == .client && opened < 12 && random.chance(1, in: 2) {
        let before = ours.exchanges.count
        ours.open(
          [0, 1, 5000, 70_000][random.next(below: 4)], withTrailers: random.chance(1, in: 4))
        opened += ours.exchanges.count - before
      }
      for stream in ours.exchanges.keys.sorted() {
        if role == .server && random.chance(1, in: 2) {
          ours.answer(
            stream, [0, 1, 5000, 70_000][random.next(below: 4)],
            withTrailers: random.chance(1, in: 4), isInterim: random.chance(1, in: 4))
        }
        if random.chance(3, in: 4) { ours.consume(stream, 1 << 20) }
        if random.chance(1, in: 300) { ours.reset(stream) }
      }
      for _ in 0..<4 { ours.sendTurn(limit: 1 << 20) }
      ours.releaseEnded()
      let count = min(ours.output.count, [1, 100, 1 << 20][random.next(below: 3)])
      let answer = try talk.exchange([0] + ours.output.array(0..<count))
      ours.output.consume(count)
      try #require(
        answer.first != UInt8(ascii: "!"), "\(String(decoding: answer, as: UTF8.self))")
      ours.input += answer.dropFirst()
      ours.receive(at: now)
      #expect(ours.broken == nil)
      if ours.broken != nil { return }
      isDone =
        answer.first == UInt8(ascii: "1") && ours.exchanges.isEmpty && ours.output.isEmpty
        && (role == .server || opened >= 12)
    }
    #expect(isDone, "\(ours.exchanges)")
    #expect(ours.problems == [])
    try compare(ours, talk.exchange([]))
  }

  /// `summary` is the other side's description of each stream.
  private func compare(_ ours: Endpoint, _ summary: [UInt8]) {
    let lines = String(decoding: summary, as: UTF8.self).split(separator: "\n")
    #expect(lines.count >= 10)
    var completeCount = 0
    for line in lines {
      let numbers = line.split(separator: " ").compactMap { Int($0) }
      guard numbers.count == 5, let exchange = ours.ended[UInt32(numbers[0])] else {
        // The peer reset it before we received its head.
        continue
      }
      let (received, isRight, hasEnded) = (numbers[1], numbers[2] == 1, numbers[3] == 1)
      #expect(isRight && exchange.isIntact, "\(line)")
      if exchange.isReset || numbers[4] == 1 {
        #expect(received <= exchange.sent, "\(line)")
      } else {
        #expect(hasEnded && received == exchange.wanted, "\(line)")
        completeCount += 1
      }
    }
    #expect(completeCount >= 5)
  }
}
