// The source address of a connection to a backend, if it is not an address of this machine: the
// client's (IP_TRANSPARENT, ip(7)).
//
// The kernel allows it with CAP_NET_RAW or CAP_NET_ADMIN. It only sends from that address: that
// replies come back to this machine is a matter of its routes.

import Glibc
import Primitives

public enum TransparentSocket {
  /// Why this process can't send from the addresses of others; nil if it can.
  public static var obstacle: SystemError? {
    let descriptor = openSocket(family: AF_INET)
    if descriptor < 0 { return .last }
    defer { _ = Glibc.close(descriptor) }
    return allow(on: descriptor, family: AF_INET)
  }

  /// Binds a socket to this address of any machine. The port is chosen by connect, which knows the
  /// other address: otherwise a client could only have as many connections as there are ports, to
  /// all backends together.
  static func bind(_ descriptor: Int32, to address: IPAddress) -> SystemError? {
    let source: KernelAddress
    do { source = try KernelAddress(.ip(address, port: 0)) } catch { return error }
    if let error = allow(on: descriptor, family: source.family) { return error }
    if setOption(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1) < 0 { return .last }
    let result = unsafe source.withPointer { unsafe Glibc.bind(descriptor, $0, $1) }
    return result < 0 ? .last : nil
  }

  private static func allow(on descriptor: Int32, family: Int32) -> SystemError? {
    let result =
      family == AF_INET6
      ? setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_TRANSPARENT, 1)
      : setOption(descriptor, Int32(IPPROTO_IP), IP_TRANSPARENT, 1)
    return result < 0 ? .last : nil
  }
}
