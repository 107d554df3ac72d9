// The sockets of one listener: one per worker, all on the same address.
//
// The kernel distributes connections over a SO_REUSEPORT group by a hash of the client's address,
// so workers share no accept queue. But such a group also accepts sockets of other processes of the
// same user. Then two instances would share the traffic without notice. So a probe without
// SO_REUSEPORT is bound first and closed at once: it fails if another socket listens there. If this
// process listens there itself, PortTable shows the others. Two instances that start at the same
// instant can still miss each other.
//
// When a socket of the group is closed, the connections in its queue are reset, unless another
// process has the same socket. So all inherited sockets are kept, whatever their number.

import Glibc
public import Primitives

public struct ListeningSockets: Sendable {
  public enum Carrier: Sendable {
    case tcp, udp
  }

  /// Non-blocking and listening. The owner closes them.
  public let sockets: [Socket]
  /// The address on which they listen, with the port that the kernel chose if 0 was configured.
  public let address: SocketAddress
  public let carrier: Carrier

  init(sockets: [Socket], address: SocketAddress, carrier: Carrier = .tcp) {
    self.sockets = sockets
    self.address = address
    self.carrier = carrier
  }

  /// Connections that may wait to be accepted, per socket; the kernel limits it to
  /// `net.core.somaxconn`, 4096 by default.
  public static let defaultBacklog: Int32 = 4096

  /// How many bytes the kernel buffers for a connection beyond those that it may send at once.
  /// Without a limit it buffers megabytes for a client that reads nothing, and a thousand such
  /// clients fill all of the kernel's TCP memory. Bytes in flight don't count, so this doesn't
  /// reduce the throughput.
  static let unsentMax: Int32 = 128 * 1024

  /// Opens `count` sockets on `address`, and listens. Throws as `bind` does.
  public static func open(
    on address: SocketAddress, count: Int, backlog: Int32 = defaultBacklog
  ) throws(SystemError) -> ListeningSockets {
    let sockets = try bind(on: address, count: count)
    do throws(SystemError) {
      try sockets.listen(backlog: backlog)
    } catch {
      sockets.close()
      throw error
    }
    return sockets
  }

  /// Binds `count` sockets to `address`. No connection is accepted before `listen`. On `::` they
  /// accept only IPv6. `own`: sockets of this process that may have the same port for some time.
  /// Throws EADDRINUSE if another process listens there, EADDRNOTAVAIL if this machine does not
  /// have the address, EACCES for a privileged port, EOPNOTSUPP for a Unix path; then no socket
  /// stays open.
  public static func bind(
    on address: SocketAddress, count: Int, _ carrier: Carrier = .tcp,
    beside own: [ListeningSockets] = []
  ) throws(SystemError) -> ListeningSockets {
    precondition(count > 0)
    guard case .ip(let ip, let port) = address else { throw SystemError(code: EOPNOTSUPP) }
    let own = own.filter { $0.carrier == carrier }
    if own.contains(where: { $0.address.overlaps(address) }) {
      // They would make the probe fail.
      let others = PortTable.inodes(listeningOn: address, carrier)
      if !others.subtracting(own.flatMap(\.inodes)).isEmpty { throw .addressInUse }
    } else if port != 0 {
      _ = Glibc.close(try open(on: address, carrier, sharing: false))
    }

    var sockets: [Socket] = []
    var bound = address
    do throws(SystemError) {
      for _ in 0..<count {
        let descriptor = try open(on: bound, carrier, sharing: true)
        sockets.append(Socket(descriptor: descriptor))
        if sockets.count == 1, case .ip(_, let chosen) = try localAddress(of: descriptor) {
          bound = .ip(ip, port: chosen)
        }
      }
    } catch {
      for socket in sockets { _ = Glibc.close(socket.descriptor) }
      throw error
    }
    return ListeningSockets(sockets: sockets, address: bound, carrier: carrier)
  }

  /// Listens. If a socket already listens, this only changes the length of its queue. Throws
  /// EADDRINUSE if another process listens there since the sockets were bound.
  public func listen(backlog: Int32) throws(SystemError) {
    if carrier == .udp { return }
    for socket in sockets {
      if Glibc.listen(socket.descriptor, backlog) < 0 { throw .last }
    }
  }

  // MARK: Inherited

  /// Takes over sockets that another process opened and passed to this one, grouped by address.
  /// Throws EBADF, ENOTSOCK, or EINVAL for a descriptor that is no listening TCP socket and no UDP
  /// socket.
  public static func adopt(_ descriptors: [Int32]) throws(SystemError) -> [ListeningSockets] {
    var groups: [ListeningSockets] = []
    for descriptor in descriptors {
      let kind = try option(descriptor, SOL_SOCKET, SO_TYPE)
      let isUDP = kind == Int32(SOCK_DGRAM.rawValue)
      let listens = try option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1
      guard isUDP || kind == Int32(SOCK_STREAM.rawValue) && listens else {
        throw SystemError(code: EINVAL)
      }
      let address = try localAddress(of: descriptor)
      guard case .ip = address else { throw SystemError(code: EINVAL) }
      if fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 { throw .last }
      if fcntl(descriptor, F_SETFL, O_RDWR | O_NONBLOCK) < 0 { throw .last }
      if isUDP {
        configureDatagrams(descriptor, on: address)
      } else {
        try set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
      }
      let socket = Socket(descriptor: descriptor)
      let carrier = isUDP ? Carrier.udp : .tcp
      if let index = groups.firstIndex(where: { $0.address == address && $0.carrier == carrier }) {
        groups[index] = ListeningSockets(
          sockets: groups[index].sockets + [socket], address: address, carrier: carrier)
      } else {
        groups.append(ListeningSockets(sockets: [socket], address: address, carrier: carrier))
      }
    }
    return groups
  }

  /// The same with at least `count` sockets. If this user owns the SO_REUSEPORT group, new sockets
  /// join it; otherwise workers share a socket, and are sometimes woken without a connection. A
  /// group of UDP never grows: the kernel would distribute the clients anew, and their sessions
  /// would be elsewhere.
  public func extended(
    to count: Int, backlog: Int32 = defaultBacklog
  ) throws(SystemError) -> ListeningSockets {
    guard carrier == .tcp, sockets.count < count, let first = sockets.first else { return self }
    var all = sockets
    do throws(SystemError) {
      let canJoin = try Self.option(first.descriptor, SOL_SOCKET, SO_REUSEPORT) == 1
      for index in sockets.count..<count {
        if canJoin, let descriptor = try? Self.open(on: address, .tcp, sharing: true) {
          all.append(Socket(descriptor: descriptor))
          if Glibc.listen(descriptor, backlog) < 0 { throw .last }
        } else {
          let shared = sockets[index % sockets.count].descriptor
          let descriptor = fcntl(shared, F_DUPFD_CLOEXEC, 0)
          if descriptor < 0 { throw .last }
          all.append(Socket(descriptor: descriptor))
        }
      }
    } catch {
      for socket in all.dropFirst(sockets.count) { _ = Glibc.close(socket.descriptor) }
      throw error
    }
    return ListeningSockets(sockets: all, address: address)
  }

  /// Enables TCP keep-alive for connections accepted from now on: they inherit it from the
  /// listening socket, which saves four system calls for each.
  public func setKeepAlive(_ probes: TCPKeepAlive?) {
    if carrier == .udp { return }
    for socket in sockets { TCPKeepAlive.set(probes, on: socket.descriptor) }
  }

  /// The sockets of one of `workerCount` workers. There may be more sockets than workers.
  public func share(ofWorker index: Int, of workerCount: Int) -> [Socket] {
    stride(from: index, to: sockets.count, by: workerCount).map { sockets[$0] }
  }

  /// Whether this is a socket on `::` that accepts IPv4 connections too.
  public var isDualStack: Bool {
    guard case .ip(let ip, _) = address, !ip.isV4, let first = sockets.first else { return false }
    return (try? Self.option(first.descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY)) == 0
  }

  /// The inodes of the sockets.
  private var inodes: [UInt64] {
    sockets.compactMap { socket in
      var status = stat()
      return unsafe fstat(socket.descriptor, &status) < 0 ? nil : UInt64(status.st_ino)
    }
  }

  /// Closes all of them, for a start that failed.
  public func close() {
    for socket in sockets { _ = Glibc.close(socket.descriptor) }
  }

  // MARK: System calls

  private static func open(
    on address: SocketAddress, _ carrier: Carrier, sharing: Bool
  ) throws(SystemError) -> Int32 {
    switch carrier {
    case .tcp: try bind(to: address, sharing: sharing)
    case .udp: try bindDatagrams(to: address, sharing: sharing)
    }
  }

  /// A bound socket, with the options that accepted connections inherit.
  private static func bind(
    to address: SocketAddress, sharing: Bool
  ) throws(SystemError) -> Int32 {
    let target = try KernelAddress(address)
    let descriptor = openSocket(family: target.family)
    if descriptor < 0 { throw .last }
    do throws(SystemError) {
      // Connections of an earlier process in TIME_WAIT don't block the port.
      try set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
      if sharing { try set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
      if target.family == AF_INET6 {
        // IPv6 only, whatever net.ipv6.bindv6only is: `::` and `0.0.0.0` are two addresses.
        try set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
      }
      // Accepted connections inherit it on Linux, which saves a system call for each.
      try set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
      try set(descriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, unsentMax)
      if unsafe target.withPointer({ unsafe Glibc.bind(descriptor, $0, $1) }) < 0 { throw .last }
    } catch {
      _ = Glibc.close(descriptor)
      throw error
    }
    return descriptor
  }

  static func set(
    _ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32
  ) throws(SystemError) {
    if setOption(descriptor, level, option, value) < 0 { throw .last }
  }

  private static func option(
    _ descriptor: Int32, _ level: Int32, _ option: Int32
  ) throws(SystemError) -> Int32 {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    if unsafe getsockopt(descriptor, level, option, &value, &length) < 0 { throw .last }
    return value
  }

  private static func localAddress(of descriptor: Int32) throws(SystemError) -> SocketAddress {
    var address = KernelAddress()
    let result = unsafe address.withMutablePointer { unsafe getsockname(descriptor, $0, $1) }
    if result < 0 { throw .last }
    return address.socketAddress
  }
}
