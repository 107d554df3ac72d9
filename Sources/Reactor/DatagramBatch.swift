// Room for the datagrams that one system call receives or sends.
//
// An entry is one datagram, or several of the same length from one sender, as the kernel joins them
// (UDP_GRO). Such an entry is sent as it is (UDP_SEGMENT). The memory is two megabytes, of which
// only what is used becomes real; a worker has it from its first UDP listener on.

import CLinux
import Glibc
public import Primitives

@safe public struct DatagramBatch: ~Copyable {
  /// The number of entries, which also limits what one call moves.
  public static let entryMax = Int(CLINUX_DATAGRAM_MAX)
  /// More than the largest datagram (65,507 bytes over IPv4).
  public static let byteCountMax = 65_536
  /// The distance of two entries: a power of two would put all of them into the same places of the
  /// processor's cache.
  private static let strideByteCount = byteCountMax + 192

  public private(set) var count = 0
  private var entries: UnsafeMutableBufferPointer<clinux_datagram>
  private var memory: UnsafeMutableBufferPointer<UInt8>

  /// It is full until `allocate` was called.
  public init() {
    unsafe entries = UnsafeMutableBufferPointer(start: nil, count: 0)
    unsafe memory = UnsafeMutableBufferPointer(start: nil, count: 0)
  }

  deinit {
    unsafe entries.deallocate()
    unsafe memory.deallocate()
  }

  /// Gets the memory, if that isn't done.
  public mutating func allocate() {
    guard unsafe entries.isEmpty else { return }
    unsafe entries = .allocate(capacity: Self.entryMax)
    unsafe entries.initialize(repeating: clinux_datagram())
    unsafe memory = .allocate(capacity: Self.entryMax * Self.strideByteCount)
  }

  public var isEmpty: Bool { count == 0 }
  public var isFull: Bool { unsafe count == entries.count }

  public mutating func removeAll() { count = 0 }

  // MARK: Entries

  /// The bytes of an entry.
  @_lifetime(borrow self)
  public borrowing func bytes(_ index: Int) -> Span<UInt8> {
    precondition(index >= 0 && index < count)
    let entry = unsafe entries[index]
    let bytes = unsafe entry.bytes.assumingMemoryBound(to: UInt8.self)
    let span = unsafe Span(_unsafeStart: bytes, count: Int(entry.count))
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  public func byteCount(_ index: Int) -> Int {
    precondition(index >= 0 && index < count)
    return Int(unsafe entries[index].count)
  }

  /// The length of each datagram of an entry but the last.
  public func segmentByteCount(_ index: Int) -> Int {
    precondition(index >= 0 && index < count)
    let entry = unsafe entries[index]
    return unsafe Int(entry.segment == 0 ? max(1, entry.count) : entry.segment)
  }

  /// How many datagrams an entry is; an empty one counts too.
  public func datagramCount(_ index: Int) -> Int {
    let size = segmentByteCount(index)
    return max(1, (byteCount(index) + size - 1) / size)
  }

  /// How many datagrams these entries are, and their bytes.
  public func totals(_ range: Range<Int>) -> (datagrams: Int, bytes: Int) {
    range.reduce(into: (datagrams: 0, bytes: 0)) { sums, index in
      sums.datagrams += datagramCount(index)
      sums.bytes += byteCount(index)
    }
  }

  /// Who has sent an entry; nil if it is no internet address.
  public func peer(_ index: Int) -> SocketAddress? {
    precondition(index >= 0 && index < count)
    return unsafe withUnsafeBytes(of: &entries[index].peer) { bytes in
      unsafe KernelAddress(
        copying: bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self),
        entries[index].peer_length)?.socketAddress
    }
  }

  /// Where an entry was sent to, if the socket has several addresses.
  public func localAddress(_ index: Int) -> IPAddress? {
    precondition(index >= 0 && index < count)
    return unsafe withUnsafeBytes(of: &entries[index].local) { bytes in
      switch unsafe entries[index].local_length {
      case 4: return unsafe IPAddress(v4: UInt32(bigEndian: bytes.load(as: UInt32.self)))
      case 16:
        return unsafe IPAddress(
          high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
          low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
      default: return nil
      }
    }
  }

  /// Whether two entries have the same sender, and were sent to the same address.
  public func haveSamePeer(_ first: Int, _ second: Int) -> Bool {
    precondition(first >= 0 && second >= 0 && max(first, second) < count)
    return unsafe clinux_have_same_peer(
      entries.baseAddress.unsafelyUnwrapped + first, entries.baseAddress.unsafelyUnwrapped + second)
      != 0
  }

  // MARK: Adding

  /// Adds an entry of the concatenation of two spans, which must fit into a datagram; it is to be
  /// sent to the peer that the socket has. There must be room for one more.
  public mutating func append(
    _ head: Span<UInt8>, _ bytes: Span<UInt8>, segmentByteCount: Int = 0
  ) {
    precondition(!isFull && head.count + bytes.count <= Self.byteCountMax)
    let place = unsafe slot(count)
    unsafe head.withUnsafeBufferPointer { head in
      if let base = head.baseAddress { unsafe place.update(from: base, count: head.count) }
    }
    unsafe bytes.withUnsafeBufferPointer { bytes in
      if let base = bytes.baseAddress {
        unsafe (place + head.count).update(from: base, count: bytes.count)
      }
    }
    var entry = unsafe clinux_datagram()
    unsafe entry.bytes = UnsafeMutableRawPointer(place)
    unsafe entry.count = UInt32(head.count + bytes.count)
    let isSeveral = segmentByteCount > 0 && segmentByteCount < head.count + bytes.count
    unsafe entry.segment = isSeveral ? UInt32(segmentByteCount) : 0
    unsafe entries[count] = entry
    count += 1
  }

  /// The same with a part of an entry of another batch.
  public mutating func append(
    _ head: Span<UInt8>, _ other: borrowing DatagramBatch, _ index: Int, _ part: Range<Int>
  ) {
    append(head, other.bytes(index).extracting(part))
  }

  /// An entry that was received: `peer` has sent it to `local`.
  public mutating func append(
    _ bytes: Span<UInt8>, from peer: SocketAddress, to local: IPAddress?, segmentByteCount: Int = 0
  ) {
    append(Span(), bytes, segmentByteCount: segmentByteCount)
    address(count - 1, to: peer, from: local)
  }

  /// Sends an entry to this peer and not to the one that the socket has; `local` is the sender's
  /// address if the socket has several.
  public mutating func address(_ index: Int, to peer: SocketAddress, from local: IPAddress?) {
    precondition(index >= 0 && index < count)
    if let address = try? KernelAddress(peer) {
      unsafe withUnsafeMutableBytes(of: &entries[index].peer) { bytes in
        unsafe address.withPointer { pointer, length in
          let length = min(Int(length), bytes.count)
          unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: length))
          unsafe entries[index].peer_length = UInt32(length)
        }
      }
    }
    guard let local else {
      unsafe entries[index].local_length = 0
      return
    }
    unsafe withUnsafeMutableBytes(of: &entries[index].local) { bytes in
      if local.isV4 {
        unsafe bytes.storeBytes(of: local.v4.bigEndian, as: UInt32.self)
      } else {
        unsafe bytes.storeBytes(of: local.high.bigEndian, as: UInt64.self)
        unsafe bytes.storeBytes(of: local.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
    }
    unsafe entries[index].local_length = local.isV4 ? 4 : 16
  }

  /// Sends these entries to the peer that the socket has.
  public mutating func removeAddresses(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    for index in range {
      unsafe entries[index].peer_length = 0
      unsafe entries[index].local_length = 0
    }
  }

  // MARK: The kernel

  /// Behind the entries that there are.
  mutating func receive(from descriptor: Int32) -> Int32 {
    for index in unsafe count..<entries.count {
      unsafe entries[index].bytes = UnsafeMutableRawPointer(slot(index))
      unsafe entries[index].count = UInt32(Self.byteCountMax)
    }
    let free = unsafe entries[count...]
    let received = unsafe clinux_receive_datagrams(
      descriptor, UnsafeMutableBufferPointer(rebasing: free).baseAddress, Int32(free.count))
    if received > 0 { count += Int(received) }
    return received
  }

  func send(_ range: Range<Int>, to descriptor: Int32) -> Int32 {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    return unsafe clinux_send_datagrams(
      descriptor, UnsafeMutableBufferPointer(rebasing: entries[range]).baseAddress,
      Int32(range.count))
  }

  /// The memory of an entry.
  private func slot(_ index: Int) -> UnsafeMutablePointer<UInt8> {
    precondition(index >= 0 && index < Self.entryMax)
    unsafe precondition(!memory.isEmpty)
    return unsafe memory.baseAddress.unsafelyUnwrapped + index * Self.strideByteCount
  }

  /// Sends the datagrams of an entry one by one; nil when the first could be sent.
  func sendSingly(_ index: Int, to descriptor: Int32) -> SystemError? {
    precondition(index >= 0 && index < count)
    var entry = unsafe entries[index]
    let size = segmentByteCount(index)
    let total = unsafe Int(entry.count)
    let start = unsafe entry.bytes
    unsafe entry.segment = 0
    var sent = 0
    while sent < total {
      unsafe entry.bytes = start?.advanced(by: sent)
      unsafe entry.count = UInt32(min(size, total - sent))
      let result = unsafe clinux_send_datagrams(descriptor, &entry, 1)
      if result < 0, case let error = SystemError.last, error.code != EINTR {
        return sent == 0 ? error : nil
      }
      if result > 0 { sent += unsafe Int(entry.count) }
    }
    return nil
  }

  func isSeveral(_ index: Int) -> Bool { unsafe entries[index].segment > 0 }
}
