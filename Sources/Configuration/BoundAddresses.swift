// The addresses that a configuration binds, to find two that cannot be bound at the same time. It
// needs one lookup per address, whatever their number.

import Primitives

/// The addresses that a configuration binds.
struct BoundAddresses {
  struct Owner {
    let address: SocketAddress
    let listener: String
  }

  private var owners: [SocketAddress: Owner] = [:]
  /// By an address that represents all with the same port and protocol: the first of them.
  private var firstOnPort: [SocketAddress: Owner] = [:]

  /// An address that overlaps `address`, by the rule of `SocketAddress.overlaps`.
  func owner(overlapping address: SocketAddress) -> Owner? {
    guard let all = Self.all(like: address) else { return nil }
    return address == all ? firstOnPort[all] : owners[address] ?? owners[all]
  }

  mutating func insert(_ address: SocketAddress, of listener: String) {
    guard let all = Self.all(like: address) else { return }
    let owner = Owner(address: address, listener: listener)
    if owners[address] == nil { owners[address] = owner }
    if firstOnPort[all] == nil { firstOnPort[all] = owner }
  }

  /// Nil for an address that overlaps none: its port is chosen by the kernel.
  private static func all(like address: SocketAddress) -> SocketAddress? {
    guard case .ip(let ip, let port) = address, port != 0 else { return nil }
    return .ip(ip.isV4 ? .anyV4 : .anyV6, port: port)
  }
}
