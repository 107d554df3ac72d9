// The sockets of a UDP listener. They have no queue of connections: datagrams arrive as soon as
// they are bound.

import CLinux
import Glibc
import Primitives

extension Socket {
  /// Closes a socket that no worker has, such as one on its way to another process.
  public func close() { _ = Glibc.close(descriptor) }
}

extension ListeningSockets {
  /// What a socket keeps while its worker is busy; the kernel limits it to net.core.rmem_max. The
  /// default of the kernel is less than a hundred large datagrams.
  static let receiveBufferByteCount: Int32 = 4 << 20

  /// Without SO_REUSEADDR, with which two UDP sockets can share a port by accident.
  static func bindDatagrams(
    to address: SocketAddress, sharing: Bool
  ) throws(SystemError) -> Int32 {
    let target = try KernelAddress(address)
    let kind = SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
    let descriptor = socket(target.family, Int32(kind), 0)
    if descriptor < 0 { throw .last }
    do throws(SystemError) {
      if sharing { try set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
      if target.family == AF_INET6 {
        try set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
      }
      if unsafe target.withPointer({ unsafe Glibc.bind(descriptor, $0, $1) }) < 0 { throw .last }
    } catch {
      _ = Glibc.close(descriptor)
      throw error
    }
    configureDatagrams(descriptor, on: address)
    return descriptor
  }

  /// None of these options is needed everywhere, so none can fail.
  static func configureDatagrams(_ descriptor: Int32, on address: SocketAddress) {
    _ = setOption(descriptor, SOL_SOCKET, SO_RCVBUF, receiveBufferByteCount)
    _ = clinux_join_datagrams(descriptor, 1)
    // On all addresses, a reply must come from the one that the client has sent to.
    guard case .ip(let ip, _) = address, ip == .anyV4 || ip == .anyV6 else { return }
    _ = clinux_report_local_address(descriptor, ip.isV4 ? 0 : 1)
  }
}
