// Every known attack on HTTP/2, against its limit: at the limit the connection stays open, one more
// event ends it with the attack's name, and the count is right.

import HTTP
import Primitives
import Testing

@testable import HTTP2

struct Attack: CustomTestStringConvertible, Sendable {
  let flood: Flood
  let error: HTTP2Error
  /// The frames of one event, for the streams that it uses.
  let once: @Sendable (_ number: UInt32) -> [UInt8]
  let limit: @Sendable (HTTP2Limits) -> FloodLimit

  var testDescription: String { "\(flood)" }

  private static let get = Wire.request()

  static let all: [Attack] = [
    // CVE-2023-44487
    Attack(
      flood: .reset, error: .resetFlood,
      once: { Wire.headers(2 * $0 + 1, get, ends: true) + Wire.reset(2 * $0 + 1, 8) },
      limit: { $0.floods.reset }),
    // CVE-2025-8671, in four of its variants.
    Attack(
      flood: .causedReset, error: .causedResetFlood,
      once: {
        Wire.headers(2 * $0 + 1, get, ends: true) + Wire.windowUpdate(2 * $0 + 1, 0x7FFF_FFFF)
      },
      limit: { $0.floods.causedReset }),
    Attack(
      flood: .causedReset, error: .causedResetFlood,
      once: { Wire.headers(2 * $0 + 1, get, ends: true) + Wire.windowUpdate(2 * $0 + 1, 0) },
      limit: { $0.floods.causedReset }),
    Attack(
      flood: .causedReset, error: .causedResetFlood,
      once: { Wire.headers(2 * $0 + 1, get, ends: true) + Wire.data(2 * $0 + 1, "x") },
      limit: { $0.floods.causedReset }),
    Attack(
      flood: .causedReset, error: .causedResetFlood,
      once: { Wire.headers(2 * $0 + 1, [(":method", "GET")], ends: true) },
      limit: { $0.floods.causedReset }),
    // CVE-2019-9515
    Attack(
      flood: .settings, error: .settingsFlood, once: { _ in Wire.settings() },
      limit: { $0.floods.settings }),
    // CVE-2019-9512
    Attack(
      flood: .ping, error: .pingFlood,
      once: { _ in Wire.frame(Wire.ping, 0, 0, [UInt8](repeating: 0, count: 8)) },
      limit: { $0.floods.ping }),
    // CVE-2019-9513
    Attack(
      flood: .priority, error: .priorityFlood,
      once: { _ in Wire.frame(Wire.priority, 0, 1, [0, 0, 0, 0, 1]) },
      limit: { $0.floods.priority }),
    Attack(
      flood: .priority, error: .priorityFlood,
      once: { Wire.frame(Wire.priorityUpdate, 0, 0, Wire.number(2 * $0 + 1) + Array("i".utf8)) },
      limit: { $0.floods.priority }),
    // CVE-2019-9518
    Attack(
      flood: .emptyData, error: .emptyDataFlood,
      once: {
        ($0 == 0 ? Wire.headers(1, Wire.request(method: "POST")) : []) + Wire.data(1, "")
      },
      limit: { $0.floods.emptyData }),
    Attack(
      flood: .windowUpdate, error: .windowUpdateFlood, once: { _ in Wire.windowUpdate(0, 1) },
      limit: { $0.floods.windowUpdate }),
    Attack(
      flood: .unknownFrame, error: .unknownFrameFlood, once: { _ in Wire.frame(0xAB, 0, 0) },
      limit: { $0.floods.unknownFrame }),
    Attack(
      flood: .closedStreamFrame, error: .closedStreamFlood,
      once: {
        ($0 == 0 ? Wire.headers(1, [(":method", "GET")]) : []) + Wire.data(1, "x")
      },
      limit: { $0.floods.closedStreamFrame }),
  ]
}

@Suite struct FloodTests {
  @Test(arguments: Attack.all)
  func aFloodEndsTheConnectionByName(attack: Attack) {
    let bench = Bench.server()
    // The tokens that the first SETTINGS and the normal part of the attack have taken or earned.
    let limit = attack.limit(HTTP2Limits())
    var count: UInt32 = 0
    while !bench.connection.isBroken && count < 100_000 {
      bench.feed(attack.once(count))
      bench.output.removeAll()
      count += 1
    }
    #expect(bench.events.last == "broken \(attack.error.name)")
    #expect(attack.error.code == .enhanceYourCalm)
    #expect(count >= limit.burst && count <= limit.burst + 20, "\(count)")
    #expect(bench.connection.floodCounts[attack.flood] > limit.burst)
  }

  @Test(arguments: Attack.all)
  func theRateThatTheLimitAllowsContinues(attack: Attack) {
    let bench = Bench.server()
    let limit = attack.limit(HTTP2Limits())
    let pause = TimeSpan.nanoseconds(1_000_000_000 / Int64(limit.perSecond) + 2_000_000)
    for count in 0..<(limit.burst * 3) {
      bench.feed(attack.once(count))
      bench.output.removeAll()
      bench.now = bench.now + pause
    }
    #expect(bench.connection.isBroken == false)
  }

  @Test func trafficEarnsPingsAndWindowUpdates() {
    let bench = Bench.server(settings: [(4, 1 << 30)])
    bench.feed(Wire.windowUpdate(0, 1 << 30) + Wire.headers(1, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 1)
    let block = String(repeating: "x", count: 16_384)
    for _ in 0..<2000 {
      #expect(bench.send(block, on: 1) == 16_384)
      bench.output.removeAll()
      bench.feed(
        Wire.frame(Wire.ping, 0, 0, [UInt8](repeating: 0, count: 8)) + Wire.windowUpdate(1, 16_384)
          + Wire.windowUpdate(0, 16_384))
    }
    #expect(bench.connection.isBroken == false)
  }

  // MARK: Backends

  /// What each response of a backend may bring along.
  @Test func aBackendMaySendSuchFramesWithEachResponse() {
    let bench = Bench.client()
    for number in UInt32(0)..<2000 {
      let stream = 2 * number + 1
      #expect(bench.request() == .opened(stream: stream))
      bench.feed(
        Wire.windowUpdate(stream, 1000) + Wire.frame(0xAB, 0, stream) + Wire.frame(0xAB, 0, 0)
          + Wire.windowUpdate(0, 1) + Wire.settings()
          + Wire.frame(Wire.ping, 0, 0, [UInt8](repeating: 0, count: 8))
          + Wire.headers(stream, [(":status", "200")]) + Wire.data(stream, "")
          + Wire.data(stream, "", ends: true))
      #expect(bench.events.last == "end \(stream)")
      bench.release(stream)
      bench.clear()
      if bench.connection.isBroken { break }
    }
    #expect(bench.connection.isBroken == false)
  }

  private static let streamFloods: [(HTTP2Error, [UInt8])] = [
    (.emptyDataFlood, Wire.data(1, "")), (.windowUpdateFlood, Wire.windowUpdate(1, 1)),
    (.unknownFrameFlood, Wire.frame(0xAB, 0, 1)),
  ]

  @Test(arguments: 0..<3)
  func aFloodOfOneResponseEndsOnlyItsStream(kind: Int) {
    let (error, frame) = Self.streamFloods[kind]
    let bench = Bench.client()
    bench.releases = false
    bench.request()
    bench.request()
    bench.feed(
      Wire.headers(1, [(":status", "200")]) + Wire.headers(3, [(":status", "200")]))
    bench.clear()
    var count = 0
    while bench.events.isEmpty && count < 10_000 {
      bench.feed(frame)
      count += 1
    }
    #expect(bench.events == ["failed 1 \(error.name)"])
    #expect(bench.frames() == ["RST 1 enhance-your-calm"])
    #expect(count > 100 && count <= 300, "\(count)")
    // What was on its way harms nobody, before or after the stream's release.
    for _ in 0..<1000 { bench.feed(frame) }
    bench.release(1)
    for _ in 0..<1000 { bench.feed(frame) }
    bench.clear()
    bench.feed(
      Wire.windowUpdate(0, 1) + Wire.windowUpdate(3, 1) + Wire.data(3, "")
        + Wire.frame(0xAB, 0, 3) + Wire.frame(0xAB, 0, 0) + Wire.data(3, "a", ends: true))
    #expect(bench.events == ["piece 3 a end"])
  }

  @Test(arguments: [0, 1, 2])
  func aFloodAboutTheConnectionEndsItToo(kind: Int) {
    let frame = [Wire.windowUpdate(0, 1), Wire.frame(0xAB, 0, 0), Wire.settings()][kind]
    let bench = Bench.client()
    bench.request()
    var count = 0
    while !bench.connection.isBroken && count < 10_000 {
      bench.feed(frame)
      bench.output.removeAll()
      count += 1
    }
    #expect(count < 300 && bench.events.last?.hasSuffix("-flood") == true, "\(count)")
  }

  // MARK: Streams

  @Test func aResetStreamCountsUntilItsOwnerReleasesIt() {
    let bench = Bench.server()
    bench.releases = false
    for number in UInt32(0)..<100 {
      bench.feed(Wire.headers(2 * number + 1, Wire.request(), ends: true))
      bench.feed(Wire.reset(2 * number + 1, 8))
    }
    bench.clear()
    bench.feed(Wire.headers(201, Wire.request(), ends: true))
    #expect(bench.events == ["rejected 201 too-many-streams"])
    #expect(bench.frames() == ["RST 201 refused-stream"])
    bench.release(1)
    bench.clear()
    bench.feed(Wire.headers(203, Wire.request(), ends: true))
    #expect(bench.events.first?.hasPrefix("request 203") == true)
  }

  @Test func settingsThatAreNeverAcknowledgedDontHelp() {
    var limits = HTTP2Limits()
    limits.streamCount = 10
    let bench = Bench(.server, limits)
    bench.feed(Wire.preface + Wire.settings())
    var number: UInt32 = 0
    while !bench.connection.isBroken && number < 10_000 {
      bench.feed(Wire.headers(2 * number + 1, Wire.request(), ends: true))
      bench.output.removeAll()
      number += 1
    }
    #expect(bench.events.last == "broken refusal-flood")
    let allowed = 10 + limits.floods.refusal.burst
    #expect(number > allowed && number <= allowed + 2)
    #expect(bench.connection.streamCount == 10)
  }

  @Test func settingsAreAcknowledgedInTime() {
    let bench = Bench(.server)
    bench.feed(Wire.preface + Wire.settings())
    let due = bench.connection.deadline(at: bench.now)
    #expect(due == bench.now + .seconds(10))
    bench.expire(after: .seconds(9))
    #expect(bench.connection.isBroken == false)
    bench.clear()
    bench.expire(after: .seconds(1))
    #expect(bench.events == ["broken settings-timeout"])
    #expect(bench.frames() == ["GOAWAY 0 settings-timeout"])
  }

  /// It may send a body over a slow line, behind which its acknowledgement waits.
  @Test func aPeerThatSendsMayAcknowledgeLate() {
    let bench = Bench(.server)
    bench.feed(Wire.preface + Wire.settings())
    bench.feed(Wire.headers(1, Wire.request(method: "POST"), ends: false))
    for _ in 0..<3 {
      bench.expire(after: .seconds(9))
      bench.feed(Wire.data(1, "slow", ends: false))
    }
    #expect(bench.connection.isBroken == false)
    bench.expire(after: .seconds(10))
    #expect(bench.events.last == "broken settings-timeout")
  }

  /// Behind a response that the client takes slowly, it gets other settings late.
  @Test func laterSettingsMayBeAcknowledgedLate() {
    let bench = Bench.server()
    bench.feed(Wire.headers(1, Wire.request(), ends: true))
    bench.connection.setStreamCountMax(10, at: bench.now, into: &bench.output)
    for _ in 0..<6 { bench.expire(after: .seconds(5)) }
    #expect(bench.connection.isBroken == false)
    bench.feed(Wire.settingsAck)
    bench.connection.setStreamCountMax(20, at: bench.now, into: &bench.output)
    #expect(bench.connection.deadline(at: bench.now) > bench.now + .seconds(10))
  }

  // MARK: Field blocks

  @Test func continuationsAreCounted() {
    let block = Wire.block(Wire.request())
    var input = Wire.frame(Wire.headers, 1, 1, block)
    for _ in 0..<8 { input += Wire.frame(Wire.continuation, 0, 1) }
    let taken = outcome(input + Wire.frame(Wire.data, 0, 1))
    #expect(taken.first == "broken expected-continuation")
    let flood = outcome(input + Wire.frame(Wire.continuation, 0, 1))
    #expect(flood == ["broken too-many-continuations", "GOAWAY 0 enhance-your-calm"])
  }

  @Test func aBlockIsBounded() {
    var limits = HTTP2Limits()
    limits.fieldBlockByteCount = 20_000
    let piece = [UInt8](repeating: 0, count: 16_384)
    let input =
      Wire.frame(Wire.headers, 1, 1, piece) + Wire.frame(Wire.continuation, 0, 1, piece)
    let bench = Bench.server(limits)
    bench.feed(input)
    #expect(bench.events == ["broken field-block-too-large"])
  }

  @Test func aBombEndsTheConnectionBeforeItIsUnpacked() {
    // 4,000 bytes in the table, and 16,000 references to them: 64 MB of fields.
    let bench = Bench.server()
    let value = String(repeating: "x", count: 4000)
    let fill =
      Wire.block(Wire.request()) + [0x40] + Wire.string("a") + Wire.string(value)
    bench.feed(Wire.frame(Wire.headers, 5, 1, fill))
    #expect(bench.events.count == 1)
    let bomb = Wire.block(Wire.request()) + [UInt8](repeating: 0xBE, count: 16_000)
    bench.feed(Wire.frame(Wire.headers, 5, 3, bomb))
    #expect(bench.events.last == "broken field-list-bomb")
    #expect(bench.workspace.request.fields.count < 20)
  }

  @Test func manySmallFieldsCountForMoreThanTheirBytes() {
    // 16,000 indexed fields in 16 KiB.
    let bench = Bench.server()
    let fields = Wire.block(Wire.request()) + [UInt8](repeating: 0x90, count: 2000)
    bench.feed(Wire.frame(Wire.headers, 5, 1, fields))
    #expect(bench.events == ["excessive 1 too-many-fields"])
    let bomb = Wire.block(Wire.request()) + [UInt8](repeating: 0x90, count: 16_000)
    bench.feed(Wire.frame(Wire.headers, 5, 3, bomb))
    #expect(bench.events.last == "broken field-list-bomb")
  }

  // MARK: Slow peers

  @Test func aFrameThatHasBegunComesInTime() {
    let head = Wire.headers(1, Wire.request(), ends: true)
    let bench = Bench.server()
    bench.feed(Array(head[..<20]))
    #expect(bench.connection.deadline(at: bench.now) == bench.now + .seconds(10))
    bench.now = bench.now + .seconds(9)
    bench.feed(Array(head[20..<21]))
    bench.expire(after: .seconds(1))
    #expect(bench.events == ["broken frame-timeout"])
    #expect(bench.frames() == ["GOAWAY 0 enhance-your-calm"])
    let honest = Bench.server()
    honest.feed(Array(head[..<20]))
    honest.feed(Array(head[20...]))
    #expect(honest.connection.deadline(at: honest.now) == .never)
  }

  @Test func aFieldBlockInSeveralFramesComesInTime() {
    let bench = Bench.server()
    bench.feed(Wire.frame(Wire.headers, 1, 1, Wire.block(Wire.request())))
    for _ in 0..<4 {
      bench.expire(after: .seconds(2))
      bench.feed(Wire.frame(Wire.continuation, 0, 1))
    }
    #expect(bench.connection.isBroken == false)
    bench.expire(after: .seconds(2))
    #expect(bench.events == ["broken frame-timeout"])
  }

  @Test func aBodyHasNoFrameDeadline() {
    let bench = Bench.server()
    let frame = Wire.data(1, "hello")
    bench.feed(Wire.headers(1, Wire.request(method: "POST")) + frame[..<11])
    #expect(bench.connection.deadline(at: bench.now) == .never)
  }

  @Test func aPeerThatDoesNotReadAcknowledgementsIsDisconnected() {
    var limits = HTTP2Limits()
    limits.controlBacklogCount = 50
    let bench = Bench.server(limits)
    bench.output.removeAll()
    let ping = Wire.frame(Wire.ping, 0, 0, [UInt8](repeating: 0, count: 8))
    for _ in 0..<50 { bench.feed(ping) }
    #expect(bench.connection.isBroken == false)
    bench.feed(ping)
    #expect(bench.events == ["broken control-backlog"])
    let reader = Bench.server(limits)
    for _ in 0..<90 {
      reader.feed(ping)
      reader.output.removeAll()
      reader.now = reader.now + .milliseconds(200)
    }
    #expect(reader.connection.isBroken == false)
  }

  @Test func piecesThatTheOwnerWritesLeaveNoBacklog() {
    var limits = HTTP2Limits()
    limits.controlBacklogCount = 20
    limits.floods.ping = FloodLimit(burst: 1000, perSecond: 1)
    let bench = Bench.server(limits, settings: [(4, 1 << 20)])
    bench.feed(Wire.headers(1, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 1)
    for _ in 0..<200 {
      _ = bench.connection.beginPiece(100, ends: false, on: 1, into: &bench.output)
      bench.output.append([UInt8](repeating: 0, count: 100).span)
      // A peer that reads slowly: half of the output is always waiting.
      bench.output.consume(bench.output.count / 2)
      bench.feed(Wire.frame(Wire.ping, 0, 0, [UInt8](repeating: 0, count: 8)))
    }
    #expect(bench.connection.isBroken == false)
  }

  @Test func aBacklogIsWhatHasNotLeftYet() throws {
    // Half of the output is sent each time, so that it is never empty.
    var backlog = ControlBacklog()
    var waiting = 0
    for _ in 0..<1000 {
      backlog.observe(waiting: waiting)
      try backlog.add(limit: 60)
      backlog.wrote(20)
      waiting = (waiting + 20) / 2 + 10
    }
    #expect(backlog.count <= 4)
  }

  @Test(arguments: [true, false])
  func aStreamWithoutAWindowIsReset(ofStream: Bool) {
    let bench = Bench.server(settings: ofStream ? [(4, 0)] : [])
    bench.feed(Wire.headers(1, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 1)
    if !ofStream {
      #expect(bench.send(String(repeating: "x", count: 70_000), on: 1) == 65_535)
    }
    bench.connection.setWantsToSend(true, on: 1)
    bench.clear()
    #expect(bench.connection.room(on: 1) == 0)
    #expect(bench.connection.nextTurn() == nil)
    var waited = TimeSpan.zero
    while bench.events.isEmpty && waited < .seconds(200) {
      #expect(bench.connection.deadline(at: bench.now) <= bench.now + .seconds(15))
      bench.expire(after: .seconds(5))
      waited = waited + .seconds(5)
    }
    #expect(bench.events == ["failed 1 stalled-peer"])
    #expect(bench.frames() == ["RST 1 cancel"])
    #expect(waited >= .seconds(60) && waited <= .seconds(90))
    #expect(bench.connection.deadline(at: bench.now) == .never)
  }

  @Test func aStreamWithProgressIsNotReset() {
    let bench = Bench.server(settings: [(4, 0)])
    bench.feed(Wire.headers(1, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 1)
    bench.connection.setWantsToSend(true, on: 1)
    bench.clear()
    for _ in 0..<20 {
      _ = bench.connection.deadline(at: bench.now)
      bench.expire(after: .seconds(40))
      bench.feed(Wire.windowUpdate(1, 1))
      #expect(bench.send("x", on: 1) == 1)
    }
    #expect(bench.events == [])
  }

  @Test(arguments: [false, true])
  func anOwnerMayAllowStalls(ofAll: Bool) {
    var limits = HTTP2Limits()
    if ofAll { limits.stallTimeout = nil }
    let bench = Bench.server(limits, settings: [(4, 0)])
    bench.feed(Wire.headers(1, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 1)
    bench.connection.setWantsToSend(true, on: 1)
    if !ofAll { bench.connection.allowStalls(on: 1) }
    bench.clear()
    for _ in 0..<100 {
      _ = bench.connection.deadline(at: bench.now)
      bench.expire(after: .seconds(10))
    }
    #expect(bench.events == [])
    if ofAll { #expect(bench.connection.deadline(at: bench.now) == .never) }
  }

  @Test func everyErrorHasANameOfItsOwn() {
    let names = HTTP2Error.allCases.map { "\($0.name)" }
    #expect(Set(names).count == names.count)
    #expect(HTTP2Error.badPreface.isOfConnection)
    #expect(HTTP2Error.pingTimeout.isOfConnection)
    #expect(!HTTP2Error.frameOnClosedStream.isOfConnection)
  }
}
