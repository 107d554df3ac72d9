// Datagrams from the clients of a UDP listener: to which session each belongs.
//
// A batch is received, and each run of entries of one sender goes to its session's member by one
// call. A listener is reported as long as a datagram waits, so a worker may leave some for its next
// turn. Sessions begin and end in Worker+Sessions.

import Balancing
import Metrics
import Primitives
import Proxy
import ProxyProtocol
import Reactor

extension Worker where IO: ~Copyable {
  /// After so many datagrams of one listener, the worker turns to others. A batch may exceed it,
  /// since the kernel joins datagrams.
  private static var datagramsPerTurn: Int { 128 }

  mutating func receiveDatagrams(from listener: Int) {
    guard listener < listeners.count, listeners[listener].isOpen, !udp.isHeld else { return }
    var datagrams = 0
    while datagrams < Self.datagramsPerTurn {
      udp.inbound.removeAll()
      guard
        case .received(let count) = io.receiveDatagrams(
          from: listeners[listener].socket, into: &udp.inbound)
      else { return }
      datagrams += forwardBatch(of: listener)
      if count < DatagramBatch.entryMax { return }
    }
  }

  /// Returns how many datagrams it was.
  private mutating func forwardBatch(of listener: Int) -> Int {
    let configured = listeners[listener].configured
    guard let configured, let rules = snapshot.listeners[configured].udp else { return 0 }
    let proxies = snapshot.listeners[configured].proxies
    var place = 0
    var total = 0
    while place < udp.inbound.count {
      let next = endOfRun(place)
      defer { place = next }
      let count = countReceived(place..<next, listener)
      total += count
      // Nobody can be answered at port 0.
      guard case .ip(let address, let port)? = udp.inbound.peer(place), port != 0 else { continue }
      let key = SessionKey(
        listener: Int32(listener), peerPort: port, peer: address,
        local: udp.inbound.localAddress(place))
      if let proxies {
        guard proxies.contains(where: { $0.contains(address) }) else {
          drop(.proxyHeader, count, key, nil)
          continue
        }
        for index in place..<next { forwardProxied(index, key, rules) }
      } else if rules.perDatagram {
        for index in place..<next { forwardEach(index, key, rules) }
      } else if let session = session(for: key, rules, dropping: count) {
        deliver(place..<next, to: session)
      }
    }
    return total
  }

  /// The end of the entries with the same sender as this one.
  private mutating func endOfRun(_ place: Int) -> Int {
    var next = place + 1
    while next < udp.inbound.count && udp.inbound.haveSamePeer(place, next) { next += 1 }
    return next
  }

  /// Returns how many datagrams the entries are.
  private mutating func countReceived(_ range: Range<Int>, _ listener: Int) -> Int {
    let (datagrams, bytes) = udp.inbound.totals(range)
    metrics.add(.udpDatagramsReceived, datagrams)
    metrics.add(.downstreamBytesReceived, bytes)
    listeners[listener].traffic?.add(.udpReceived, UInt64(datagrams))
    listeners[listener].traffic?.add(.receivedBytes, UInt64(bytes))
    return datagrams
  }

  // MARK: One by one

  /// Each datagram of an entry may go to another member.
  private mutating func forwardEach(_ index: Int, _ key: SessionKey, _ rules: SessionRules) {
    let size = udp.inbound.segmentByteCount(index)
    let total = udp.inbound.byteCount(index)
    var start = 0
    repeat {
      let end = min(start + size, total)
      if let session = session(forDatagramOf: key, rules) {
        if start == 0 && end == total {
          deliver(index..<(index + 1), to: session)
        } else {
          deliverCopy(of: index, start..<end, to: session)
        }
      }
      start = end
    } while start < total
  }

  /// Each datagram has a header, and what follows it goes on.
  private mutating func forwardProxied(_ index: Int, _ key: SessionKey, _ rules: SessionRules) {
    let size = udp.inbound.segmentByteCount(index)
    let total = udp.inbound.byteCount(index)
    var start = 0
    repeat {
      let end = min(start + size, total)
      if let (byteCount, ends) = proxyHeader(index, start..<end, key) {
        var key = key
        key.proxied = ends
        let session =
          rules.perDatagram
          ? session(forDatagramOf: key, rules) : session(for: key, rules, dropping: 1)
        if let session { deliverCopy(of: index, (start + byteCount)..<end, to: session) }
      }
      start = end
    } while start < total
  }

  /// The length of the header of a datagram, and whom it names; nil if there is no valid one.
  private mutating func proxyHeader(
    _ index: Int, _ range: Range<Int>, _ key: SessionKey
  ) -> (byteCount: Int, SessionKey.ProxiedEnds?)? {
    var parser = ProxyHeaderParser()
    let refusal: ProxyRefusal
    switch parser.parse(udp.inbound.bytes(index).extracting(range)) {
    case .header(let header, let byteCount) where header.version == .v2:
      guard case .ip(let source, let destination, _) = header.origin else {
        return (byteCount, nil)
      }
      let ends = SessionKey.ProxiedEnds(
        client: source.address, clientPort: source.port, destination: destination.address,
        destinationPort: destination.port)
      return (byteCount, ends)
    case .header: refusal = .invalid(.unknownVersion)
    case .failed(let error): refusal = .invalid(error)
    case .more: refusal = .incomplete
    }
    metrics.add(.proxyHeaderFailures, at: UInt8(refusal.word.place))
    drop(.proxyHeader, 1, key, nil)
    return nil
  }

  // MARK: Dropping

  /// Counts datagrams that were dropped, for the listener, and for the pool if it is known.
  mutating func drop(
    _ cause: DropCause, _ count: Int, _ key: SessionKey, _ pool: PoolSettings?
  ) {
    if count == 0 { return }
    metrics.add(.udpDatagramsDropped, count)
    listeners[Int(key.listener)].traffic?.add(cause.counter, UInt64(count))
    if let pool, let block = block(pool.traffic) { block.add(cause.counter, UInt64(count)) }
  }
}
