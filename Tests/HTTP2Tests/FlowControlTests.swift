// Windows in both directions (RFC 9113 6.9).

import HTTP
import Primitives
import Testing

@testable import HTTP2

@Suite struct FlowControlTests {
  private static let post = Wire.headers(1, Wire.request(method: "POST"))

  private func data(_ stream: UInt32, _ count: Int) -> [UInt8] {
    var frames: [UInt8] = []
    var rest = count
    while rest > 0 {
      let size = min(rest, 16_384)
      frames += Wire.frame(Wire.data, 0, stream, [UInt8](repeating: 0x78, count: size))
      rest -= size
    }
    return frames
  }

  // MARK: Receiving

  @Test func theConnectionIsCreditedOnReceiptAndAStreamAsItIsConsumed() {
    let bench = Bench.server()
    bench.consumes = false
    bench.feed(Self.post)
    bench.clear()
    bench.feed(data(1, 65_536))
    // The stream gets no credit: its owner has consumed nothing.
    #expect(bench.frames() == [])
    bench.connection.consumed(20_000, of: 1, workspace: &bench.workspace, into: &bench.output)
    #expect(bench.frames() == [])
    bench.connection.consumed(20_000, of: 1, workspace: &bench.workspace, into: &bench.output)
    #expect(bench.frames() == ["WINDOW_UPDATE 1 +40000"])
    // Other streams use up the connection's window, which is credited although none of it is
    // consumed.
    for stream in UInt32(1)..<9 {
      bench.feed(Wire.headers(2 * stream + 1, Wire.request(method: "POST")))
      bench.feed(data(2 * stream + 1, 65_536))
    }
    #expect(bench.frames() == ["WINDOW_UPDATE 0 +524288"])
  }

  @Test func aStreamBeyondItsWindowIsReset() {
    let bench = Bench.server()
    bench.consumes = false
    bench.feed(Self.post + data(1, 65_536))
    bench.clear()
    bench.feed(data(1, 1))
    #expect(bench.events == ["failed 1 stream-window-exceeded"])
    #expect(bench.frames() == ["RST 1 flow-control-error"])
  }

  @Test func aConnectionBeyondItsWindowEnds() {
    var limits = HTTP2Limits()
    limits.connectionWindow = 65_535
    limits.streamWindow = 1 << 20
    let bench = Bench.server(limits)
    bench.consumes = false
    bench.feed(Self.post)
    // The window is credited when half of it is used. So set it directly, and exceed it with one
    // frame.
    bench.connection.receiveWindow = 100
    bench.feed(data(1, 101))
    #expect(bench.events.last == "broken connection-window-exceeded")
  }

  @Test func paddingIsCreditedWithoutBeingConsumed() {
    let bench = Bench.server()
    bench.feed(Self.post)
    bench.clear()
    let padded = Wire.frame(Wire.data, 8, 1, [255] + [UInt8](repeating: 0, count: 256))
    var updates: [String] = []
    for _ in 0..<1000 {
      bench.feed(padded)
      updates += bench.frames().filter { $0.hasPrefix("WINDOW_UPDATE 1") }
    }
    #expect(bench.connection.isBroken == false)
    #expect(!updates.isEmpty)
  }

  @Test func aWindowGrowsUpToItsLimitIfItsConsumerKeepsUp() {
    let bench = Bench.server()
    bench.feed(Self.post)
    let budget = bench.workspace.windowBudget
    for _ in 0..<1000 { bench.feed(data(1, 16_384)) }
    #expect(bench.connection.isBroken == false)
    var slot = bench.connection.streams.find(1) ?? 0
    #expect(bench.connection.streams[slot].windowSize == 1 << 20)
    #expect(bench.workspace.windowBudget == budget - (1 << 20) + 65_536)
    bench.connection.abortStream(1, .cancel, into: &bench.output)
    bench.release(1)
    #expect(bench.workspace.windowBudget == budget)

    // Without a budget it doesn't grow.
    bench.workspace.windowBudget = 0
    bench.feed(Wire.headers(3, Wire.request(method: "POST")))
    for _ in 0..<1000 { bench.feed(data(3, 16_384)) }
    slot = bench.connection.streams.find(3) ?? 0
    #expect(bench.connection.streams[slot].windowSize == 65_536)
    #expect(bench.connection.isBroken == false)
  }

  @Test func aSlowConsumersWindowDoesNotGrow() {
    let bench = Bench.server()
    bench.consumes = false
    bench.feed(Self.post + data(1, 65_536))
    for _ in 0..<100 {
      bench.connection.consumed(32_768, of: 1, workspace: &bench.workspace, into: &bench.output)
      bench.feed(data(1, 32_768))
    }
    let slot = bench.connection.streams.find(1) ?? 0
    #expect(bench.connection.streams[slot].windowSize == 65_536)
  }

  @Test func aConnectionReturnsItsBudgetAtItsEnd() {
    let bench = Bench.server()
    let budget = bench.workspace.windowBudget
    bench.feed(Self.post)
    for _ in 0..<100 { bench.feed(data(1, 16_384)) }
    #expect(bench.workspace.windowBudget < budget)
    bench.connection.end(workspace: &bench.workspace)
    #expect(bench.workspace.windowBudget == budget)
  }

  @Test func aSmallerWindowAppliesFromItsAcknowledgement() {
    var limits = HTTP2Limits()
    limits.streamWindow = 10
    let bench = Bench(.server, limits)
    bench.feed(Wire.preface + Wire.settings() + Self.post)
    bench.clear()
    // Sent before the settings arrived.
    bench.feed(data(1, 100))
    #expect(bench.events.first?.hasPrefix("piece 1 xxx") == true)
    #expect(bench.frames() == [])
    // All of it is consumed, so the credit must be sent at once: the peer's window is -90.
    bench.feed(Wire.settingsAck)
    #expect(bench.frames() == ["WINDOW_UPDATE 1 +100"])
    bench.feed(data(1, 11))
    #expect(bench.events.last == "failed 1 stream-window-exceeded")
  }

  // MARK: Sending

  private func answering(settings: [(UInt16, UInt32)] = []) -> Bench {
    let bench = Bench.server(settings: settings)
    bench.feed(Wire.headers(1, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 1)
    bench.clear()
    return bench
  }

  @Test func aBodyGoesAsFarAsTheWindows() {
    let bench = answering(settings: [(4, 10)])
    #expect(bench.send("hello world", on: 1) == 10)
    #expect(bench.frames() == ["DATA 1 10"])
    #expect(bench.connection.room(on: 1) == 0)
    bench.feed(Wire.windowUpdate(1, 1))
    #expect(bench.send("d", ends: true, on: 1) == 1)
    #expect(bench.frames() == ["DATA 1 1 end"])
    #expect(bench.connection.sentByteCount(of: 1) == 11)
  }

  @Test func aBodyGoesInFramesThatThePeerTakes() {
    let bench = answering()
    #expect(bench.send(String(repeating: "x", count: 40_000), ends: true, on: 1) == 40_000)
    #expect(bench.frames() == ["DATA 1 16384", "DATA 1 16384", "DATA 1 7232 end"])
  }

  @Test func theEndIsSentWithTheLastByteOnly() {
    let bench = answering(settings: [(4, 3)])
    #expect(bench.send("hello", ends: true, on: 1) == 3)
    #expect(bench.frames() == ["DATA 1 3"])
    bench.feed(Wire.settings([(4, 100)]))
    bench.clear()
    #expect(bench.send("lo", ends: true, on: 1) == 2)
    #expect(bench.frames() == ["DATA 1 2 end"])
    #expect(bench.send("more", on: 1) == 0)
  }

  @Test func anEmptyEndNeedsNoWindow() {
    let bench = answering(settings: [(4, 0)])
    bench.connection.sendEnd(on: 1, into: &bench.output)
    #expect(bench.frames() == ["DATA 1 0 end"])
  }

  @Test func aLoweredInitialWindowMayMakeWindowsNegative() {
    // RFC 9113 6.9.2.
    let bench = answering(settings: [(4, 100)])
    #expect(bench.send(String(repeating: "x", count: 80), on: 1) == 80)
    bench.connection.setWantsToSend(true, on: 1)
    bench.feed(Wire.settings([(4, 30)]))
    #expect(bench.connection.room(on: 1) == 0)
    #expect(bench.connection.nextTurn() == nil)
    bench.feed(Wire.windowUpdate(1, 50))
    #expect(bench.connection.room(on: 1) == 0)
    bench.feed(Wire.windowUpdate(1, 1))
    #expect(bench.connection.nextTurn() == SendTurn(stream: 1, byteCount: 1))
  }

  @Test func theConnectionsWindowLimitsAllStreams() {
    let bench = Bench.server(settings: [(4, 1 << 20)])
    for stream in [UInt32(1), 3] {
      bench.feed(Wire.headers(stream, Wire.request(), ends: true))
      bench.respond(body: .streamed, on: stream)
    }
    let large = String(repeating: "x", count: 100_000)
    #expect(bench.send(large, on: 1) == 65_535)
    #expect(bench.send(large, on: 3) == 0)
    bench.connection.setWantsToSend(true, on: 3)
    #expect(bench.connection.hasTurn == false)
    bench.feed(Wire.windowUpdate(0, 1000))
    #expect(bench.connection.nextTurn() == SendTurn(stream: 3, byteCount: 1000))
  }

  @Test func anOwnerMayWriteAPieceItself() {
    let bench = answering()
    #expect(bench.connection.beginPiece(5, ends: true, on: 1, into: &bench.output) == true)
    bench.output.append("hello")
    #expect(bench.connection.beginPiece(5, ends: true, on: 1, into: &bench.output) == false)
    #expect(bench.frames() == ["DATA 1 5 end"])
  }

  // MARK: Memory

  @Test func anIdleConnectionIsSmall() {
    let fresh = Bench.server()
    #expect(fresh.connection.storedByteCount == 0)
    #expect(MemoryLayout<HTTP2Connection>.size <= 1280, "\(MemoryLayout<HTTP2Connection>.size)")
    let used = Bench.server()
    used.feed(
      Wire.headers(
        1,
        Wire.request([
          ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
          ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
          ("accept-encoding", "gzip, deflate, br, zstd"),
        ]), ends: true))
    used.respond(200, [("server", "martlet"), ("content-type", "text/html")], on: 1)
    used.release(1)
    used.connection.settle()
    #expect(used.connection.storedByteCount <= 1024, "\(used.connection.storedByteCount)")
  }
}
