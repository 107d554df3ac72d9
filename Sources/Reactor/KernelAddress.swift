// Socket addresses in the form that system calls take: `sockaddr` and a length.

import Glibc
import Primitives

/// A `sockaddr` of any family, with room for the largest.
struct KernelAddress {
  private var storage = sockaddr_storage()
  private(set) var length: socklen_t

  /// Storage for the kernel to fill.
  init() {
    length = socklen_t(MemoryLayout<sockaddr_storage>.size)
  }

  /// Throws ENAMETOOLONG for a Unix path that doesn't fit into a `sockaddr_un` (107 bytes), and
  /// EINVAL for one that is empty or contains a NUL.
  init(_ address: SocketAddress) throws(SystemError) {
    switch address {
    case .ip(let ip, let port) where ip.isV4:
      var v4 = sockaddr_in()
      v4.sin_family = sa_family_t(AF_INET)
      v4.sin_port = port.bigEndian
      v4.sin_addr.s_addr = ip.v4.bigEndian
      length = socklen_t(MemoryLayout<sockaddr_in>.size)
      unsafe withUnsafeMutableBytes(of: &storage) {
        unsafe $0.storeBytes(of: v4, as: sockaddr_in.self)
      }

    case .ip(let ip, let port):
      var v6 = sockaddr_in6()
      v6.sin6_family = sa_family_t(AF_INET6)
      v6.sin6_port = port.bigEndian
      unsafe withUnsafeMutableBytes(of: &v6.sin6_addr) { bytes in
        unsafe bytes.storeBytes(of: ip.high.bigEndian, as: UInt64.self)
        unsafe bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      unsafe withUnsafeMutableBytes(of: &storage) {
        unsafe $0.storeBytes(of: v6, as: sockaddr_in6.self)
      }

    case .unix(let path):
      let bytes = Array(path.utf8)
      if bytes.isEmpty || bytes.contains(0) { throw SystemError(code: EINVAL) }
      // One byte is for the NUL after the path.
      if bytes.count > Self.pathByteCount - 1 { throw .nameTooLong }
      length = socklen_t(Self.pathOffset + bytes.count + 1)
      storage.ss_family = sa_family_t(AF_UNIX)
      unsafe withUnsafeMutableBytes(of: &storage) { storage in
        unsafe UnsafeMutableRawBufferPointer(rebasing: storage[Self.pathOffset...])
          .copyBytes(from: bytes)
      }
    }
  }

  /// Nil when it is no internet address, or too short.
  init?(copying address: UnsafePointer<sockaddr>?, _ length: socklen_t) {
    guard let address = unsafe address, length >= socklen_t(MemoryLayout<sockaddr_in>.size),
      length <= socklen_t(MemoryLayout<sockaddr_storage>.size)
    else { return nil }
    self.length = length
    unsafe withUnsafeMutableBytes(of: &storage) { storage in
      unsafe storage.copyMemory(
        from: UnsafeRawBufferPointer(start: address, count: Int(length)))
    }
    if family != AF_INET && family != AF_INET6 { return nil }
  }

  var family: Int32 { Int32(storage.ss_family) }

  /// The address as a value. All clients of a Unix listener are unnamed peers; they have an empty
  /// path.
  var socketAddress: SocketAddress {
    unsafe withUnsafeBytes(of: storage) { bytes in
      switch family {
      case AF_INET:
        let v4 = unsafe bytes.loadUnaligned(as: sockaddr_in.self)
        return .ip(
          IPAddress(v4: UInt32(bigEndian: v4.sin_addr.s_addr)),
          port: UInt16(bigEndian: v4.sin_port))
      case AF_INET6:
        let port = unsafe bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
        let high = unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        let low = unsafe bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
        return .ip(
          IPAddress(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low)),
          port: UInt16(bigEndian: port))
      default:
        let end = min(max(Int(length), Self.pathOffset), bytes.count)
        let path = unsafe bytes[Self.pathOffset..<end].prefix { $0 != 0 }
        return unsafe .unix(String(decoding: path, as: UTF8.self))
      }
    }
  }

  func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    unsafe withUnsafeBytes(of: storage) { bytes in
      // Not nil: the storage is never empty.
      unsafe body(
        bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), length)
    }
  }

  mutating func withMutablePointer<Result>(
    _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result
  ) -> Result {
    unsafe withUnsafeMutableBytes(of: &storage) { bytes in
      unsafe body(
        bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), &length)
    }
  }

  private static let pathOffset = 2
  private static let pathByteCount = 108
}
