// The datagrams of a session, both ways.
//
// To the member they go by the session's own socket. If the kernel reports on it that an earlier
// datagram was refused, this one has not been sent, and goes to another member. Replies are
// gathered over sessions, and sent to the clients by one call a round.

import Balancing
import Metrics
import Primitives
import Proxy
import ProxyProtocol
import Reactor

extension Worker where IO: ~Copyable {
  private enum Source { case inbound, copies }

  // MARK: To the member

  /// Entries of `inbound`, as they are.
  mutating func deliver(_ range: Range<Int>, to session: Handle) {
    if let cause = prepare(session) { return drop(cause, range, .inbound, of: session) }
    if !udp.sessions[session].header.isEmpty {
      for index in range { copy(index, to: session) }
      return
    }
    udp.inbound.removeAddresses(range)
    send(range, .inbound, to: session)
  }

  /// A part of an entry of `inbound`, as one datagram.
  mutating func deliverCopy(of index: Int, _ part: Range<Int>, to session: Handle) {
    if let cause = prepare(session) {
      return drop(cause, 1, udp.sessions[session].key, udp.sessions[session].pool)
    }
    udp.copies.removeAll()
    appendCopy(of: index, part, udp.sessions[session].header)
    send(0..<udp.copies.count, .copies, to: session)
  }

  /// Each datagram of an entry, with a header.
  private mutating func copy(_ index: Int, to session: Handle) {
    let size = udp.inbound.segmentByteCount(index)
    let total = udp.inbound.byteCount(index)
    let header = udp.sessions[session].header
    var start = 0
    udp.copies.removeAll()
    repeat {
      let end = min(start + size, total)
      appendCopy(of: index, start..<end, header)
      if udp.copies.isFull {
        send(0..<udp.copies.count, .copies, to: session)
        udp.copies.removeAll()
      }
      start = end
    } while start < total
    if !udp.copies.isEmpty { send(0..<udp.copies.count, .copies, to: session) }
  }

  private mutating func appendCopy(of index: Int, _ part: Range<Int>, _ header: [UInt8]) {
    // Longer than any datagram may be: the kernel says so.
    let room = DatagramBatch.byteCountMax - header.count
    let end = min(part.upperBound, part.lowerBound + room)
    udp.copies.append(header.span, udp.inbound, index, part.lowerBound..<end)
  }

  private mutating func send(_ range: Range<Int>, _ source: Source, to session: Handle) {
    var place = range.lowerBound
    var failures = 0
    while place < range.upperBound {
      let rest = place..<range.upperBound
      guard let socket = udp.sessions[session].socket else {
        return drop(.backendFailed, rest, source, of: session)
      }
      let result =
        switch source {
        case .inbound: io.sendDatagrams(to: socket, udp.inbound, rest)
        case .copies: io.sendDatagrams(to: socket, udp.copies, rest)
        }
      switch result {
      case .sent(let count):
        noteForwarded(place..<(place + count), source, session)
        place += count
      case .wouldBlock:
        return drop(.sendFailed, rest, source, of: session)
      case .failed(let error) where error.isAboutPeer:
        memberFailed(session, FailureCause(connecting: error))
        failures += 1
        guard failures < udp.sessions[session].pool.retry.maxAttempts else {
          return drop(.backendFailed, rest, source, of: session)
        }
        metrics.add(.retries)
        if let cause = prepare(session) { return drop(cause, rest, source, of: session) }
      case .failed:
        drop(.sendFailed, place..<(place + 1), source, of: session)
        place += 1
      }
    }
  }

  private mutating func noteForwarded(_ range: Range<Int>, _ source: Source, _ session: Handle) {
    let (datagrams, bytes) = amount(range, source)
    udp.sessions[session].received.add(datagrams, bytes)
    metrics.add(.upstreamBytesSent, bytes)
    if let responses = udp.sessions[session].rules.responses {
      udp.sessions[session].awaitedCount += datagrams * responses
    }
    // A trial ends by its time, however much is sent.
    if udp.sessions[session].pick?.isTrial != true { setDeadline(session: session) }
  }

  private mutating func amount(_ range: Range<Int>, _ source: Source) -> (Int, Int) {
    var datagrams = 0
    var bytes = 0
    for index in range {
      switch source {
      case .inbound:
        datagrams += udp.inbound.datagramCount(index)
        bytes += udp.inbound.byteCount(index)
      case .copies:
        datagrams += 1
        bytes += udp.copies.byteCount(index)
      }
    }
    return (datagrams, bytes)
  }

  private mutating func drop(
    _ cause: DropCause, _ range: Range<Int>, _ source: Source, of session: Handle
  ) {
    drop(
      cause, amount(range, source).0, udp.sessions[session].key, udp.sessions[session].pool)
  }

  /// What begins each datagram to this member; empty for nothing.
  mutating func proxyHeader(of session: Handle, _ member: Member) -> [UInt8] {
    guard let plan = udp.sessions[session].pool.proxyHeader else { return [] }
    var tlvs = OutgoingTLVs()
    tlvs.hasChecksum = plan.hasChecksum
    scratch.removeAll()
    let key = udp.sessions[session].key
    ProxyHeaderWriter.writeBlock(
      source: key.client, destination: destination(of: key), tlvs, .datagram, into: &scratch)
    return scratch.array(0..<scratch.count)
  }

  // MARK: To the client

  /// The session's socket was reported.
  mutating func receiveReplies(_ session: Handle) {
    guard udp.sessions.contains(session), let socket = udp.sessions[session].socket else { return }
    let listener = udp.sessions[session].listener
    if udp.replies.isFull || udp.repliesListener != listener { flushReplies() }
    udp.repliesListener = listener
    let first = udp.replies.count
    switch io.receiveDatagrams(from: socket, into: &udp.replies) {
    case .received(let count):
      if first == 0 { queueReplies() }
      noteReplies(first..<(first + count), session)
    case .wouldBlock, .finished: break
    case .failed(let error) where error.isAboutPeer:
      memberFailed(session, FailureCause(connecting: error))
      if udp.sessions[session].key.backend >= 0 { end(session: session) }
    // Such as a datagram that is too large for the path: its client's matter.
    case .failed: break
    }
  }

  private mutating func noteReplies(_ range: Range<Int>, _ session: Handle) {
    let peer = udp.sessions[session].key.peerAddress
    let local = udp.sessions[session].key.local
    let (datagrams, bytes) = udp.replies.totals(range)
    for index in range { udp.replies.address(index, to: peer, from: local) }
    metrics.add(.upstreamBytesReceived, bytes)
    udp.sessions[session].sent.add(datagrams, bytes)
    if !udp.sessions[session].hasReply {
      udp.sessions[session].hasReply = true
      udp.sessions[session].failure = nil
      observe(session: session, failure: nil)
    }
    if range.count == DatagramBatch.entryMax && !udp.sessions[session].joins,
      let socket = udp.sessions[session].socket
    {
      udp.sessions[session].joins = true
      io.joinDatagrams(socket)
    }
    if udp.sessions[session].rules.responses != nil {
      udp.sessions[session].awaitedCount -= datagrams
      if udp.sessions[session].awaitedCount <= 0 { return end(session: session) }
    }
    udp.sessions.touch(session)
    setDeadline(session: session)
  }

  /// Sends what has come from members. What the kernel doesn't take is dropped.
  mutating func flushReplies() {
    if udp.replies.isEmpty { return }
    let listener = udp.repliesListener
    let key = SessionKey(listener: Int32(listener), peerPort: 0, peer: .anyV4)
    var place = 0
    while place < udp.replies.count && listeners[listener].isOpen {
      let rest = place..<udp.replies.count
      switch io.sendDatagrams(to: listeners[listener].socket, udp.replies, rest) {
      case .sent(let count):
        countSent(place..<(place + count), listener)
        place += count
      case .wouldBlock:
        drop(.sendFailed, rest.reduce(0) { $0 + udp.replies.datagramCount($1) }, key, nil)
        place = rest.upperBound
      case .failed:
        drop(.sendFailed, udp.replies.datagramCount(place), key, nil)
        place += 1
      }
    }
    udp.replies.removeAll()
  }

  private mutating func countSent(_ range: Range<Int>, _ listener: Int) {
    let (datagrams, bytes) = udp.replies.totals(range)
    metrics.add(.udpDatagramsSent, datagrams)
    metrics.add(.downstreamBytesSent, bytes)
    listeners[listener].traffic?.add(.udpSent, UInt64(datagrams))
    listeners[listener].traffic?.add(.sentBytes, UInt64(bytes))
  }
}

extension SystemError {
  /// The other end refuses, or can't be reached.
  fileprivate var isAboutPeer: Bool {
    switch self {
    case .connectionRefused, .hostUnreachable, .networkUnreachable: true
    default: false
    }
  }
}
