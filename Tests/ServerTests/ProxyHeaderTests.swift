// Listeners that expect a header of the PROXY protocol: each error, each cut of a header, and what
// the header's address is used for.
//
// The worker runs on an I/O with one client at a time, which sends pieces.

import Foundation
import Metrics
import Primitives
import Proxy
import ProxyProtocol
import Reactor
import TLS
import Testing

@testable import Server

/// What the client sends, and how its connection ended; shared with the test.
private final class Visitor {
  static let listener = Socket(descriptor: 9)

  var now = Instant.origin + .seconds(1)
  var peer = SocketAddress.ip(IPAddress(v4: 0x0A00_0001), port: 1234)
  var waiting: [Int32] = []
  var pieces: [Int32: [[UInt8]]] = [:]
  var finished: Set<Int32> = []
  var tokens: [Int32: UInt64] = [:]
  var events: [ReadinessEvent] = []
  var sent: [Int32: [UInt8]] = [:]
  /// Whether by a reset.
  var closed: [Int32: Bool] = [:]

  func report(_ socket: Int32, _ readiness: Readiness = .readable) {
    if let token = tokens[socket] {
      events.append(ReadinessEvent(token: token, readiness: readiness))
    }
  }

  func send(_ bytes: [UInt8], on socket: Int32 = 10) {
    pieces[socket, default: []].append(bytes)
    report(socket)
  }

  func finish(_ socket: Int32 = 10) {
    finished.insert(socket)
    report(socket, [.readable, .peerFinished])
  }

  func text(_ socket: Int32 = 10) -> String {
    String(decoding: sent[socket] ?? [], as: UTF8.self)
  }
}

private struct VisitorIO: QuietIO {
  let visitor: Visitor
  var reported: [ReadinessEvent] = []
  var now: Instant { visitor.now }

  mutating func wait(until deadline: Instant?) -> Int {
    reported = visitor.events
    visitor.events = []
    return reported.count
  }
  func event(_ index: Int) -> ReadinessEvent { reported[index] }
  mutating func watch(listener: Socket, token: UInt64) {
    visitor.tokens[listener.descriptor] = token
  }
  mutating func accept(from listener: Socket) -> AcceptResult {
    guard let next = visitor.waiting.popLast() else { return .wouldBlock }
    return .accepted(Socket(descriptor: next), peer: visitor.peer)
  }
  mutating func register(_ socket: Socket, token: UInt64) {
    visitor.tokens[socket.descriptor] = token
  }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    guard var pieces = visitor.pieces[socket.descriptor], !pieces.isEmpty else {
      return visitor.finished.contains(socket.descriptor) ? .finished : .wouldBlock
    }
    let piece = pieces.removeFirst()
    visitor.pieces[socket.descriptor] = pieces
    for byte in piece { output.append(byte) }
    return .received(piece.count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    for index in 0..<first.count {
      visitor.sent[socket.descriptor, default: []].append(first[index])
    }
    for index in 0..<second.count {
      visitor.sent[socket.descriptor, default: []].append(second[index])
    }
    return .sent(first.count + second.count)
  }
  mutating func close(_ socket: Socket, reset: Bool) { visitor.closed[socket.descriptor] = reset }
}

@Suite struct ProxyHeaderTests {
  private static let request = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
  private static let line = Array("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n".utf8)
  private static let block: [UInt8] =
    Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x21, 0x11, 0, 19, 192, 0, 2, 1, 198, 51, 100, 2]
    + [0x9C, 0x40, 1, 0xBB, 5, 0, 4, 0x34, 0x37, 0x31, 0x31]
  private static let local: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x20, 0, 0, 0]

  private func settings(_ contexts: [TLSContext] = [], isProxied: Bool = true) throws
    -> ListenerSettings
  {
    let answer = LocalAnswer(status: 200, body: Array("hello".utf8))
    let route = RouteSettings(.respond(answer, draining: answer))
    return ListenerSettings(
      name: [], contexts: contexts,
      rules: RouteRules(table: RouteTable([RouteMatch()]), routes: [route]),
      proxies: isProxied ? [try #require(AddressRange("10.0.0.0/8"))] : nil)
  }

  private func worker(
    _ visitor: Visitor, _ contexts: [TLSContext] = [], change: (inout Settings) -> Void = { _ in }
  ) throws -> Worker<VisitorIO> {
    var settings = Settings()
    change(&settings)
    return try loneWorker(
      on: VisitorIO(visitor: visitor),
      Snapshot(settings: settings, listeners: [try self.settings(contexts)], pools: []),
      listeners: [Visitor.listener])
  }

  private func connect(
    _ visitor: Visitor, _ worker: inout Worker<VisitorIO>, _ socket: Int32 = 10
  ) {
    visitor.waiting.append(socket)
    visitor.report(Visitor.listener.descriptor)
    turn(&worker)
  }

  private func turn(_ worker: inout Worker<VisitorIO>) { for _ in 0..<3 { worker.turn() } }

  /// The clients of the open connections.
  private func clients(_ worker: inout Worker<VisitorIO>) -> [Connection.Client] {
    var clients: [Connection.Client] = []
    for slot in 0..<worker.connections.slotCount {
      guard let handle = worker.connections.handle(at: slot) else { continue }
      clients.append(worker.connections[handle].client)
    }
    return clients
  }

  private func failures(_ worker: inout Worker<VisitorIO>) -> [String: UInt64] {
    let snapshot = MetricsSnapshot(of: [worker.metrics])
    var counts: [String: UInt64] = [:]
    for word in SplitMetric.proxyHeaderFailures.words {
      let count = snapshot[.proxyHeaderFailures, at: word.place]
      if count > 0 { counts["\(word.name)"] = count }
    }
    return counts
  }

  // MARK: Headers

  @Test(arguments: [line, block])
  func aHeaderMayBeCutAnywhere(header: [UInt8]) throws {
    let bytes = header + Self.request
    for cut in 1...header.count {
      let visitor = Visitor()
      var worker = try worker(visitor)
      connect(visitor, &worker)
      visitor.send(Array(bytes[..<cut]))
      turn(&worker)
      #expect(visitor.sent.isEmpty)
      visitor.send(Array(bytes[cut...]))
      turn(&worker)
      #expect(visitor.text().hasPrefix("HTTP/1.1 200"), "cut at \(cut)")
      let open = clients(&worker)
      let client = try #require(open.first)
      #expect(client.address == IPAddress("192.0.2.1") && client.port == 40_000)
      #expect(client.isProxied && visitor.closed.isEmpty)
      let first = worker.proxiedClients.values.first
      let entry = try #require(first)
      #expect(entry.proxy == visitor.peer)
      #expect("\(entry.destination)" == "198.51.100.2:443")
      #expect(entry.uniqueID == (header == Self.block ? Array("4711".utf8) : []))
      let failures = failures(&worker)
      #expect(failures == [:])
    }
  }

  @Test func aHeaderMayComeByteByByte() throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker)
    for byte in Self.block + Self.request {
      visitor.send([byte])
      turn(&worker)
    }
    #expect(visitor.text().hasPrefix("HTTP/1.1 200"))
    let snapshot = MetricsSnapshot(of: [worker.metrics])
    #expect(snapshot[.proxyHeaders] == 1)
  }

  @Test(arguments: [
    local, Array("PROXY UNKNOWN\r\n".utf8),
    Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x21, 0, 0, 0],
    Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x21, 0x31, 0, 216] + Array(repeating: 97, count: 216),
  ])
  func withoutAnAddressTheSocketsOwnCounts(header: [UInt8]) throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker)
    visitor.send(header + Self.request)
    turn(&worker)
    #expect(visitor.text().hasPrefix("HTTP/1.1 200"))
    let open = clients(&worker)
    let client = try #require(open.first)
    #expect(client.address == visitor.peer.ip && client.port == 1234 && !client.isProxied)
    #expect(client.block == visitor.peer.ip)
    let entries = worker.proxiedClients.count
    #expect(entries == 0)
  }

  /// Exactly one header: another one is a request, which HTTP refuses.
  @Test func aSecondHeaderIsARequest() throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker)
    visitor.send(Self.line + Array("PROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\n".utf8) + Self.request)
    turn(&worker)
    #expect(visitor.text().hasPrefix("HTTP/1.1 400"))
  }

  // MARK: Refusals

  private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

  /// The signature of version 2, and these bytes.
  private static func signed(_ bytes: UInt8...) -> [UInt8] { Array(block[..<12]) + bytes }

  private static let invalid: [([UInt8], String)] = [
    (request, "no-header"), ([0x16, 3, 1, 2, 0, 1], "no-header"),
    (text("PROXY TCP4 a b 1 2\r\n"), "bad-address"),
    (text("PROXY UNKNOWN\n"), "bad-line"),
    (text("PROXY TCP4 1.1.1.1 1.1.1.1 1 99999\r\n"), "bad-port"),
    (text("PROXY SCTP 1\r\n"), "unknown-protocol"),
    (text("PROXY UNKNOWN" + String(repeating: " ", count: 100)), "line-too-long"),
    (signed(0x11), "unknown-version"), (signed(0x22), "unknown-command"),
    (signed(0x21, 0x41), "unknown-family"), (signed(0x21, 0x11, 0xFF, 0xFF), "too-large"),
    (signed(0x21, 0x21, 0, 2, 1, 1), "truncated-addresses"),
    (signed(0x21, 0, 0, 4, 1, 0, 9, 0), "truncated-tlv"),
    (signed(0x21, 0, 0, 4, 3, 0, 1, 0), "bad-tlv"),
    (signed(0x21, 0, 0, 6, 1, 0, 0, 1, 0, 0), "repeated-tlv"),
    (signed(0x21, 0, 0, 7, 3, 0, 4, 1, 2, 3, 4), "bad-checksum"),
  ]

  @Test(arguments: invalid)
  func anInvalidHeaderClosesTheConnection(bytes: [UInt8], reason: String) throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker)
    visitor.send(bytes)
    turn(&worker)
    #expect(visitor.closed[10] != nil && visitor.sent.isEmpty)
    let failures = failures(&worker)
    #expect(failures == [reason: 1])
    let left = (worker.clientCount, worker.admission.count)
    #expect(left.0 == 0 && left.1 == 0)
  }

  @Test func everyReasonHasATest() {
    let tested =
      Set(Self.invalid.map(\.1)).union(["not-from-proxy", "header-timeout", "incomplete-header"])
    #expect(Set(ProxyRefusal.all.map { "\($0.name)" }) == tested)
  }

  @Test func nobodyElseMayConnect() throws {
    let visitor = Visitor()
    visitor.peer = .ip(IPAddress(v4: 0x0B00_0001), port: 1)
    var worker = try worker(visitor)
    connect(visitor, &worker)
    #expect(visitor.closed == [10: true])
    let failures = failures(&worker)
    #expect(failures == ["not-from-proxy": 1])
    let admission1 = worker.admission.count
    #expect(admission1 == 0)
  }

  @Test(arguments: [0, 1, 20])
  func aHeaderHasTheTimeOfAHandshake(count: Int) throws {
    let visitor = Visitor()
    var worker = try worker(visitor) { $0.handshakeTimeout = .seconds(5) }
    connect(visitor, &worker)
    visitor.send(Array(Self.block[..<count]))
    turn(&worker)
    visitor.now = visitor.now + .milliseconds(4900)
    turn(&worker)
    #expect(visitor.closed.isEmpty)
    visitor.now = visitor.now + .milliseconds(200)
    turn(&worker)
    #expect(visitor.closed[10] != nil)
    let failures = failures(&worker)
    #expect(failures == ["header-timeout": 1])
  }

  /// A check whether somebody listens sends nothing, and is no failure.
  @Test(arguments: [0, 1, 27])
  func aConnectionThatEndsWithinItsHeaderIsClosed(count: Int) throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker)
    if count > 0 { visitor.send(Array(Self.block[..<count])) }
    visitor.finish()
    turn(&worker)
    #expect(visitor.closed[10] != nil)
    let failures = failures(&worker)
    #expect(failures == (count == 0 ? [:] : ["incomplete-header": 1]))
  }

  // MARK: What the address is used for

  @Test func theLimitOfAnAddressIsThatOfTheClient() throws {
    let visitor = Visitor()
    var worker = try worker(visitor) { $0.connectionsPerAddressMax = 2 }
    // All of them come from one proxy, and wait for their headers.
    for socket: Int32 in 10..<16 { connect(visitor, &worker, socket) }
    let admission2 = worker.admission.count
    #expect(visitor.closed.isEmpty && admission2 == 6)
    for socket: Int32 in 10..<14 { visitor.send(Self.line + Self.request, on: socket) }
    turn(&worker)
    #expect(visitor.closed.count == 2 && visitor.closed.values.allSatisfy { $0 })
    let admission3 = worker.admission.count
    #expect(admission3 == 4)
    let other = Array("PROXY TCP4 192.0.2.2 198.51.100.2 1 2\r\n".utf8)
    visitor.send(other + Self.request, on: 14)
    turn(&worker)
    #expect(visitor.text(14).hasPrefix("HTTP/1.1 200"))
    // A place is free again after one of them has ended.
    let served = (10..<14 as Range<Int32>).first { visitor.closed[$0] == nil }
    visitor.finish(try #require(served))
    turn(&worker)
    visitor.send(Self.line + Self.request, on: 15)
    turn(&worker)
    #expect(visitor.text(15).hasPrefix("HTTP/1.1 200"))
  }

  @Test func aTrustedProxyBehindTheHeaderIsNotCounted() throws {
    let visitor = Visitor()
    let trusted = try #require(AddressRange("192.0.2.0/24"))
    var worker = try worker(visitor) {
      $0.connectionsPerAddressMax = 1
      $0.forwarding.trustedProxies = [trusted]
    }
    for socket: Int32 in 10..<13 {
      connect(visitor, &worker, socket)
      visitor.send(Self.line + Self.request, on: socket)
      turn(&worker)
      #expect(visitor.text(socket).hasPrefix("HTTP/1.1 200"))
    }
  }

  @Test func theLimitOfAllConnectionsCountsThoseThatWait() throws {
    let visitor = Visitor()
    var worker = try worker(visitor) { $0.connectionMax = 2 }
    for socket: Int32 in 10..<13 { connect(visitor, &worker, socket) }
    #expect(visitor.closed == [12: true])
  }

  // MARK: TLS, reload, overload, drain

  private func context() throws -> TLSContext {
    let certs = (#filePath as NSString).deletingLastPathComponent + "/../../certs"
    let certificate = try Certificate(
      chainPath: certs + "/server.crt", keyPath: certs + "/server.key")
    return try TLSContext(
      certificates: [certificate], policy: TLSPolicy(), ticketKeys: try TicketKeys(),
      listenerName: "tls")
  }

  @Test func theHandshakeFollowsTheHeaderWithinTheSameTime() throws {
    let visitor = Visitor()
    var worker = try worker(visitor, [try context()]) { $0.handshakeTimeout = .seconds(5) }
    connect(visitor, &worker)
    let handshakes4 = worker.handshakes.count
    #expect(handshakes4 == 0)
    // The beginning of a ClientHello is in the same segment.
    visitor.send(Self.block + [22, 3, 1, 0, 200, 1])
    visitor.now = visitor.now + .seconds(3)
    turn(&worker)
    let handshakes5 = worker.handshakes.count
    #expect(handshakes5 == 1 && visitor.closed.isEmpty)
    visitor.now = visitor.now + .milliseconds(2100)
    turn(&worker)
    let handshakes6 = worker.handshakes.count
    #expect(visitor.closed[10] != nil && handshakes6 == 0)
    let snapshot = MetricsSnapshot(of: [worker.metrics])
    #expect(snapshot[.handshakesTimedOut] == 1 && snapshot[.handshakesActive] == 0)
  }

  @Test func plainHTTPBehindTheHeaderIsToldSo() throws {
    let visitor = Visitor()
    var worker = try worker(visitor, [try context()])
    connect(visitor, &worker)
    visitor.send(Self.line + Self.request)
    turn(&worker)
    #expect(visitor.text().hasPrefix("HTTP/1.1 400"))
  }

  /// The key counts for new connections. One that waits keeps the rule under which it began, and
  /// gets everything else from the listener as it is now.
  @Test func aReloadChangesNewConnections() throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker, 10)
    let plain = Snapshot(
      settings: Settings(), listeners: [try settings(isProxied: false)], pools: [])
    let assignment = ListenerAssignment(socket: Visitor.listener, listener: 0)
    worker.handle(.install(plain, listeners: [assignment]))
    connect(visitor, &worker, 11)
    visitor.send(Self.request, on: 11)
    visitor.send(Self.line + Self.request, on: 10)
    turn(&worker)
    #expect(visitor.text(10).hasPrefix("HTTP/1.1 200"))
    #expect(visitor.text(11).hasPrefix("HTTP/1.1 200"))
    let addresses = Set(clients(&worker).map(\.address))
    #expect(addresses == [visitor.peer.ip, IPAddress("192.0.2.1")])
    worker.handle(
      .install(
        Snapshot(settings: Settings(), listeners: [try settings()], pools: []),
        listeners: [assignment]))
    connect(visitor, &worker, 12)
    visitor.send(Self.request, on: 12)
    turn(&worker)
    let failures = failures(&worker)
    #expect(visitor.closed[12] != nil && failures == ["no-header": 1])
  }

  @Test func underOverloadAHeaderHasLessTime() throws {
    let visitor = Visitor()
    var worker = try worker(visitor) { $0.handshakeTimeout = .seconds(100) }
    connect(visitor, &worker)
    worker.handle(.overload(.endingConnections))
    visitor.now = visitor.now + .milliseconds(3100)
    turn(&worker)
    let failures = failures(&worker)
    #expect(failures == ["header-timeout": 1])
  }

  @Test func aConnectionThatWaitsWhileDrainingIsServedOnce() throws {
    let visitor = Visitor()
    var worker = try worker(visitor)
    connect(visitor, &worker)
    worker.handle(.drain(limit: .seconds(30)))
    let ended7 = worker.isFinished
    #expect(!ended7)
    visitor.send(Self.block + Self.request)
    turn(&worker)
    #expect(visitor.text().contains("200") && visitor.text().contains("Connection: close"))
    visitor.finish()
    turn(&worker)
    let ended8 = worker.isFinished
    let admission8 = worker.admission.count
    #expect(ended8 && admission8 == 0)
  }
}
