// `InputOutput` over memory, for one client with given bytes and a backend that responds by a
// script, or with given bytes too. Everything happens in a fixed order, and time advances only when
// nothing else can happen.
//
// The client sends its next piece when the worker is idle, and finishes after the last piece, when
// all responses have arrived. Each connection to a backend with given bytes gets them from the
// beginning.

import FuzzSupport
import Primitives
import Reactor

final class ScriptedIO: InputOutput {
  static let listener = Socket(descriptor: 3)
  private static let firstPeer = 4

  private(set) var now = Instant(nanoseconds: 3_600_000_000_000)
  /// The client is the first peer, the rest are backend connections.
  private var peers: [ScriptedPeer]
  private var pieces: [[UInt8]]
  private let answers: AnswerScript
  /// What a backend sends, if it doesn't respond by a script.
  private let backendPieces: [[UInt8]]?
  /// The maximum number of bytes that one `send` accepts.
  private let sendMax: Int
  private var listenerToken: UInt64?
  private var isAccepted = false
  private var batch: [ReadinessEvent] = []

  init(
    pieces: [[UInt8]], answers: AnswerScript = .measured, backendPieces: [[UInt8]]? = nil,
    sendMax: Int
  ) {
    self.backendPieces = backendPieces?.reversed()
    self.pieces = pieces.reversed()
    self.answers = answers
    self.sendMax = sendMax
    peers = [ScriptedPeer(answers: nil)]
  }

  var client: ScriptedPeer { peers[0] }
  var backends: ArraySlice<ScriptedPeer> { peers.dropFirst() }

  private func index(_ socket: Socket) -> Int {
    let index = Int(socket.descriptor) - Self.firstPeer
    require(peers.indices.contains(index) && !peers[index].isClosed, "\(socket) is not open")
    return index
  }

  // MARK: Waiting

  func wait(until deadline: Instant?) -> Int {
    collect()
    if batch.isEmpty && deadline.map({ $0 > now }) ?? true {
      if !clientSends() && !backendMoves() && !clientFinishes() {
        require(deadline != nil && deadline != .never, "nothing will happen any more")
        now = deadline ?? now
      }
      collect()
    }
    return batch.count
  }

  func event(_ index: Int) -> ReadinessEvent { batch[index] }

  private func collect() {
    batch.removeAll()
    if let listenerToken, !isAccepted {
      batch.append(ReadinessEvent(token: listenerToken, readiness: .readable))
    }
    for index in peers.indices where !peers[index].isClosed && !peers[index].news.isEmpty {
      guard let token = peers[index].token else { continue }
      batch.append(ReadinessEvent(token: token, readiness: peers[index].news))
      peers[index].news = []
    }
  }

  private func clientSends() -> Bool {
    guard isAccepted, !peers[0].isClosed, let piece = pieces.popLast() else { return false }
    peers[0].inbound += piece
    peers[0].news.insert(.readable)
    return true
  }

  private func clientFinishes() -> Bool {
    guard isAccepted, !peers[0].isClosed, !peers[0].isFinished else { return false }
    peers[0].finish()
    return true
  }

  /// A backend with given bytes sends some of them, or closes the connection after the last.
  private func backendMoves() -> Bool {
    if backendPieces == nil { return false }
    for index in peers.indices.dropFirst()
    where !peers[index].isClosed && !peers[index].isFinished {
      if let piece = peers[index].pieces.popLast() {
        peers[index].inbound += piece
        peers[index].news.insert(.readable)
      } else {
        peers[index].finish()
      }
      return true
    }
    return false
  }

  // MARK: Connections

  func watch(listener: Socket, token: UInt64) { listenerToken = token }
  func unwatch(listener: Socket) { listenerToken = nil }

  func accept(from listener: Socket) -> AcceptResult {
    if isAccepted { return .wouldBlock }
    isAccepted = true
    return .accepted(
      Socket(descriptor: Int32(Self.firstPeer)), peer: .ip(.loopbackV4, port: 40_000))
  }

  func register(_ socket: Socket, token: UInt64) { peers[index(socket)].token = token }
  func reregister(_ socket: Socket, token: UInt64) { peers[index(socket)].token = token }

  func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    var peer = ScriptedPeer(answers: backendPieces == nil ? answers : nil)
    peer.pieces = backendPieces ?? []
    peer.token = token
    peer.news = .writable
    peers.append(peer)
    return .started(Socket(descriptor: Int32(Self.firstPeer + peers.count - 1)))
  }

  func keepAlive(_ socket: Socket, _ probes: TCPKeepAlive) {}

  func connectionResult(of socket: Socket) -> SystemError? { nil }

  // MARK: Bytes

  func receive(from socket: Socket, into output: inout OutputSpan<UInt8>) -> ReceiveResult {
    let index = index(socket)
    if peers[index].inbound.isEmpty { return peers[index].isFinished ? .finished : .wouldBlock }
    let count = min(peers[index].inbound.count, output.freeCapacity)
    require(count > 0, "received into no room")
    for byte in peers[index].inbound.prefix(count) { output.append(byte) }
    peers[index].inbound.removeFirst(count)
    return .received(count)
  }

  func isQuiet(_ socket: Socket) -> Bool {
    let index = index(socket)
    return peers[index].inbound.isEmpty && !peers[index].isFinished
  }

  func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    let index = index(socket)
    require(first.count + second.count > 0, "nothing is sent")
    require(!peers[index].hasShutDown, "bytes behind the end")
    let count = min(sendMax, first.count + second.count)
    var bytes: [UInt8] = []
    for position in 0..<min(count, first.count) { bytes.append(first[position]) }
    for position in 0..<max(0, count - first.count) { bytes.append(second[position]) }
    peers[index].take(bytes)
    if count < first.count + second.count { peers[index].news.insert(.writable) }
    return .sent(count)
  }

  func unacknowledgedByteCount(of socket: Socket) -> Int { 0 }

  func shutdownSending(_ socket: Socket) { peers[index(socket)].hasShutDown = true }

  func close(_ socket: Socket, reset: Bool) {
    if socket == Self.listener { return }
    let index = index(socket)
    peers[index].isClosed = true
    peers[index].wasReset = reset
  }
}

/// How the backend responds to each request.
enum AnswerScript: UInt8 {
  /// With Content-Length.
  case measured
  /// In chunks, with a trailer.
  case chunked
  /// 204 after a 100.
  case empty
  /// With the end of its connection.
  case untilClose
}

/// The other end of one of the worker's connections.
struct ScriptedPeer {
  var token: UInt64?
  /// Readiness that was not reported to the worker yet.
  var news: Readiness = []
  /// What it will send, the last piece first.
  var pieces: [[UInt8]] = []
  /// Bytes for the worker.
  var inbound: [UInt8] = []
  /// The peer has finished sending, after `inbound`.
  var isFinished = false
  /// Everything that the worker sent.
  private(set) var outbound: [UInt8] = []
  var hasShutDown = false
  var isClosed = false
  var wasReset = false

  /// For a backend: the requests that it got, and how it responds.
  private(set) var requests: [ReadMessage] = []
  private var reader = MessageReader(.requests)
  private let answers: AnswerScript?

  init(answers: AnswerScript?) { self.answers = answers }

  mutating func finish() {
    isFinished = true
    news.formUnion([.readable, .peerFinished])
  }

  mutating func take(_ bytes: [UInt8]) {
    outbound += bytes
    guard let answers else { return }
    reader.append(bytes)
    while let request = reader.next(atEnd: false) {
      requests.append(request)
      if !isFinished { answer(request, answers) }
    }
    require(reader.fault == nil, "the backend got \(quoted(outbound)): \(reader.fault ?? "")")
  }

  private mutating func answer(_ request: ReadMessage, _ script: AnswerScript) {
    let hasBody = !request.startLine.hasPrefix("HEAD ")
    let body = "\(requests.count) \(request.startLine)"
    let count = body.utf8.count
    let text =
      switch script {
      case .measured:
        "HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n" + (hasBody ? body : "")
      case .chunked:
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          + (hasBody ? "\(String(count, radix: 16))\r\n\(body)\r\n0\r\nX: y\r\n\r\n" : "")
      case .empty: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
      case .untilClose: "HTTP/1.1 200 OK\r\n\r\n" + (hasBody ? body : "")
      }
    inbound += Array(text.utf8)
    news.insert(.readable)
    if script == .untilClose {
      isFinished = true
      news.insert(.peerFinished)
    }
  }
}
