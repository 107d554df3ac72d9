// Which addresses are taken by whom, so that two that can't be bound side by side are found with
// one look for each address, however many there are.

import Primitives

/// The addresses that a configuration binds.
struct BoundAddresses {
  struct Owner {
    let address: SocketAddress
    let listener: String
  }

  private var owners: [SocketAddress: Owner] = [:]
  /// By the address that stands for all of the same port and protocol: the first of them.
  private var firstOnPort: [SocketAddress: Owner] = [:]

  /// One that overlaps `address`, as `SocketAddress.overlaps` has it.
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

  /// Nil for what overlaps nothing: a port that the kernel chooses.
  private static func all(like address: SocketAddress) -> SocketAddress? {
    guard case .ip(let ip, let port) = address, port != 0 else { return nil }
    return .ip(ip.isV4 ? .anyV4 : .anyV6, port: port)
  }
}
