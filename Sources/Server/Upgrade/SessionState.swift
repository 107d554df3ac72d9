// A session of a UDP listener as one process gives it to another in an upgrade: a line of text, and
// the descriptor of its socket.
//
// The listening sockets have the same descriptor numbers in both processes, so the number says at
// which socket the client's datagrams arrive.

import Balancing
import Primitives
import Reactor

struct SessionState: Equatable, Sendable {
  /// Of the listening socket.
  var listener: Int32
  /// Connected to the member.
  var socket: Socket
  var key: SessionKey
  var backend: BackendIdentity
  var startedAt: Instant
  var endsAt: Instant
  var awaitedCount: Int
  var hasReply: Bool
  var received: Session.Traffic
  var sent: Session.Traffic

  var line: String {
    let proxied = key.proxied
    let fields = [
      "session", "\(listener)", key.backend >= 0 ? "datagram" : "client",
      Self.text(key.peer, key.peerPort), key.local.map { "\($0)" } ?? "",
      proxied.map { Self.text($0.client, $0.clientPort) } ?? "",
      proxied.map { Self.text($0.destination, $0.destinationPort) } ?? "",
      backend.pool, backend.address, "\(startedAt.nanoseconds)", "\(endsAt.nanoseconds)",
      "\(awaitedCount)", hasReply ? "1" : "0", "\(received.datagramCount)",
      "\(received.byteCount)", "\(sent.datagramCount)", "\(sent.byteCount)",
    ]
    return fields.joined(separator: "\t") + "\n"
  }

  /// Nil for a line of another kind, or one that can't be read.
  init?(_ line: Substring, socket: Socket) {
    let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
    guard fields.count > 16, fields[0] == "session", let listener = Int32(fields[1]),
      let (peer, peerPort) = Self.end(fields[3])
    else { return nil }
    let numbers = (9...16).map { UInt64(fields[$0]) ?? 0 }
    self.listener = listener
    self.socket = socket
    key = SessionKey(
      listener: 0, backend: fields[2] == "datagram" ? 0 : -1, peerPort: peerPort, peer: peer,
      local: IPAddress(String(fields[4])))
    if let (client, clientPort) = Self.end(fields[5]),
      let (destination, destinationPort) = Self.end(fields[6])
    {
      key.proxied = SessionKey.ProxiedEnds(
        client: client, clientPort: clientPort, destination: destination,
        destinationPort: destinationPort)
    }
    backend = BackendIdentity(pool: String(fields[7]), address: String(fields[8]))
    startedAt = Instant(nanoseconds: numbers[0])
    endsAt = Instant(nanoseconds: numbers[1])
    awaitedCount = Int(fields[11]) ?? 0
    hasReply = numbers[3] == 1
    received = Session.Traffic(datagramCount: numbers[4], byteCount: numbers[5])
    sent = Session.Traffic(datagramCount: numbers[6], byteCount: numbers[7])
  }

  init(
    listener: Int32, socket: Socket, key: SessionKey, backend: BackendIdentity,
    startedAt: Instant, endsAt: Instant, awaitedCount: Int, hasReply: Bool,
    received: Session.Traffic, sent: Session.Traffic
  ) {
    self.listener = listener
    self.socket = socket
    self.key = key
    self.backend = backend
    self.startedAt = startedAt
    self.endsAt = endsAt
    self.awaitedCount = awaitedCount
    self.hasReply = hasReply
    self.received = received
    self.sent = sent
  }

  /// The port first, since an address may have colons.
  private static func text(_ address: IPAddress, _ port: UInt16) -> String { "\(port) \(address)" }

  private static func end(_ text: Substring) -> (IPAddress, UInt16)? {
    let parts = text.split(separator: " ")
    guard parts.count == 2, let port = UInt16(parts[0]), let address = IPAddress(String(parts[1]))
    else { return nil }
    return (address, port)
  }
}
