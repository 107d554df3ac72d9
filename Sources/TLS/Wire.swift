// Connects OpenSSL directly to the caller's buffers, without a copy.
//
// OpenSSL reads and writes through a BIO. Ours stores no bytes: during one call it points to the
// receive buffer and the send buffer. If one is empty or full, it answers "try again later".
//
// It also counts records, because OpenSSL doesn't: one call of SSL_read reads records until one
// contains data, whatever their number and cost. So the wire stops after a given number of records,
// always between two records.

import COpenSSL
import Glibc

/// The ends of a session's BIO, attached to buffers only while OpenSSL runs.
@safe struct Wire {
  private var input: UnsafePointer<UInt8>?
  private(set) var inputCount = 0
  private var output: UnsafeMutablePointer<UInt8>?
  private var outputRoom = 0
  /// Bytes appended to the output since `attach`.
  private(set) var written = 0
  /// Complete records consumed since `allow`.
  private(set) var recordCount = 0
  private var recordMax = 0
  /// Bytes of the next record's header (RFC 8446 5.1) not yet consumed; 0 within its body.
  private var headerRest = headerByteCount
  /// The bits of the length in that header, as far as it was consumed.
  private var lengthBits: UInt8 = 0
  private var givesNonsense = false

  private static let headerByteCount = 5

  init() {
    unsafe input = nil
    unsafe output = nil
  }

  @inline(__always)
  mutating func attach(
    _ source: UnsafeBufferPointer<UInt8>, _ target: UnsafeMutablePointer<UInt8>?, room: Int
  ) {
    unsafe input = source.baseAddress
    inputCount = source.count
    unsafe output = target
    outputRoom = room
    written = 0
  }

  /// Lets OpenSSL read this number of records.
  @inline(__always)
  mutating func allow(records: Int) {
    recordCount = 0
    recordMax = records
  }

  /// From here on OpenSSL only gets invalid bytes, as a header and as the rest of a record.
  mutating func giveNonsense() { givesNonsense = true }

  /// Forgets both buffers, so that a wrong later call gets no bytes instead of freed memory.
  @inline(__always)
  mutating func detach() {
    unsafe input = nil
    inputCount = 0
    unsafe output = nil
    outputRoom = 0
  }

  fileprivate mutating func take(_ target: UnsafeMutablePointer<CChar>, _ wanted: Int) -> Int {
    if givesNonsense { return unsafe fillWithNonsense(target, wanted) }
    if headerRest == Self.headerByteCount && recordCount == recordMax { return 0 }
    let count = min(wanted, inputCount)
    guard count > 0, let source = unsafe input else { return 0 }
    unsafe memcpy(target, source, count)
    unsafe note(UnsafeBufferPointer(start: source, count: count), isWhole: count == wanted)
    unsafe input = source + count
    inputCount -= count
    return count
  }

  /// The header of a record with an unknown type, or an invalid end of the record that OpenSSL is
  /// reading.
  private mutating func fillWithNonsense(
    _ target: UnsafeMutablePointer<CChar>, _ wanted: Int
  ) -> Int {
    let isHeader = headerRest == Self.headerByteCount && wanted == headerRest
    headerRest = 0
    unsafe memset(target, 0xFF, wanted)
    if isHeader {
      let header: [CChar] = [99, 3, 3, 0, 32]
      for index in header.indices { unsafe target[index] = header[index] }
    }
    return wanted
  }

  /// OpenSSL does not read ahead. It asks for a header and then for its body, or for the missing
  /// part of either. The length of the body is the requested one, because the very first record may
  /// have another format.
  @inline(__always)
  private mutating func note(_ bytes: UnsafeBufferPointer<UInt8>, isWhole: Bool) {
    if headerRest > 0 {
      let end = min(headerRest, bytes.count)
      for index in min(end, max(0, headerRest - 2))..<end { lengthBits |= unsafe bytes[index] }
      headerRest -= end
      // A record with length 0 has no body.
      if headerRest == 0 && lengthBits == 0 { endRecord() }
    } else if isWhole {
      endRecord()
    }
  }

  @inline(__always)
  private mutating func endRecord() {
    headerRest = Self.headerByteCount
    lengthBits = 0
    recordCount += 1
  }

  fileprivate mutating func append(_ source: UnsafePointer<CChar>, _ offered: Int) -> Int {
    let count = min(offered, outputRoom)
    guard count > 0, let target = unsafe output else { return 0 }
    unsafe memcpy(target, source, count)
    unsafe output = target + count
    outputRoom -= count
    written += count
    return count
  }

  /// A new BIO over `wire`, which must outlive it; nil when memory is short.
  static func makeBIO(over wire: UnsafeMutablePointer<Wire>) -> OpaquePointer? {
    guard let method = unsafe method, let bio = unsafe BIO_new(method) else { return nil }
    unsafe BIO_set_data(bio, wire)
    return unsafe bio
  }

  /// Created once and never changed; it contains function pointers only.
  nonisolated(unsafe) private static let method: OpaquePointer? = {
    guard let method = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire")
    else { return nil }
    unsafe BIO_meth_set_read_ex(method) { bio, target, wanted, taken in
      unsafe martlet_BIO_clear_retry_flags(bio)
      guard let target = unsafe target, let wire = unsafe wire(of: bio) else { return 0 }
      let count = unsafe wire.pointee.take(target, wanted)
      unsafe taken?.pointee = count
      if count > 0 { return 1 }
      unsafe martlet_BIO_set_retry_read(bio)
      return 0
    }
    unsafe BIO_meth_set_write_ex(method) { bio, source, offered, taken in
      unsafe martlet_BIO_clear_retry_flags(bio)
      guard let source = unsafe source, let wire = unsafe wire(of: bio) else { return 0 }
      let count = unsafe wire.pointee.append(source, offered)
      unsafe taken?.pointee = count
      if count > 0 || offered == 0 { return 1 }
      unsafe martlet_BIO_set_retry_write(bio)
      return 0
    }
    unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in
      command == BIO_CTRL_FLUSH ? 1 : 0
    }
    unsafe BIO_meth_set_create(method) { bio in
      unsafe BIO_set_init(bio, 1)
      return 1
    }
    return unsafe method
  }()

  private static func wire(of bio: OpaquePointer?) -> UnsafeMutablePointer<Wire>? {
    unsafe BIO_get_data(bio)?.assumingMemoryBound(to: Wire.self)
  }
}
