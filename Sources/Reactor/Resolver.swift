// Resolves names with the system's resolver (hosts file, DNS, as in nsswitch.conf).
//
// getaddrinfo blocks, for tens of seconds when a name server is down, so it is for control threads
// only. It doesn't return the TTL.

import Glibc
public import Primitives

public enum Resolver {
  /// The most addresses of one name. Each is a backend with its own health checks and counters, and
  /// a response of a name server by TCP can have thousands.
  public static let addressMax = 256

  /// The addresses of `name`, in the system's order of preference (RFC 6724), without duplicates;
  /// at least one and at most `addressMax`.
  public static func addresses(of name: String) throws(ResolverError) -> [IPAddress] {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    // Only address families that this machine has an address of.
    unsafe hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>?
    let code = unsafe getaddrinfo(name, nil, &hints, &list)
    if code != 0 {
      let text =
        code == EAI_SYSTEM
        ? "\(SystemError.last)" : unsafe String(cString: gai_strerror(code))
      throw ResolverError(name: name, reason: text)
    }
    defer { unsafe freeaddrinfo(list) }

    var addresses: [IPAddress] = []
    var known: Set<IPAddress> = []
    var next = unsafe list
    while addresses.count < addressMax, let entry = unsafe next {
      if let address = unsafe KernelAddress(
        copying: entry.pointee.ai_addr, entry.pointee.ai_addrlen),
        let ip = address.socketAddress.ip, known.insert(ip).inserted
      {
        addresses.append(ip)
      }
      unsafe next = entry.pointee.ai_next
    }
    if addresses.isEmpty { throw ResolverError(name: name, reason: "no address") }
    return addresses
  }
}

/// Why a name has no address now.
public struct ResolverError: Error, Equatable, CustomStringConvertible {
  public let name: String
  public let reason: String

  public init(name: String, reason: String) {
    self.name = name
    self.reason = reason
  }

  public var description: String { "\(name): \(reason)" }
}
