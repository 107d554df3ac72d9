// A blocking TCP connection on loopback with a timeout for each read and write, for tests that need
// raw bytes.

import CLinux
import Foundation

final class Wire: @unchecked Sendable {
  // Used by one thread at a time, except for `end`, which only shuts the socket down.
  let descriptor: Int32
  private(set) var buffer: [UInt8] = []
  private(set) var isFinished = false
  /// An object that must live as long as this one.
  var owner: AnyObject?

  init(descriptor: Int32, limit: Double = 30) {
    self.descriptor = descriptor
    var time = timeval(tv_sec: Int(limit), tv_usec: 0)
    let length = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, length)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, length)
    var yes: Int32 = 1
    setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
  }

  convenience init(port: Int, receiveBuffer: Int32? = nil) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    if var size = receiveBuffer {
      setsockopt(
        descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    guard withLoopback(port, { connect(descriptor, $0, $1) }) == 0 else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw HarnessError("can't connect to port \(port): \(reason)")
    }
    self.init(descriptor: descriptor)
  }

  /// To a Unix socket.
  convenience init(path: String) throws {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    let isConnected = withUnixAddress(path) { connect(descriptor, $0, $1) } == 0
    guard isConnected else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw HarnessError("can't connect to \(path): \(reason)")
    }
    self.init(descriptor: descriptor)
  }

  deinit { close(descriptor) }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Foundation.send(
          descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw HarnessError("send: \(String(cString: strerror(errno)))") }
      sent += count
    }
  }

  /// Reads once into `buffer`; false at the end.
  @discardableResult
  func receive() throws -> Bool {
    if isFinished { return false }
    var piece = [UInt8](repeating: 0, count: 65536)
    let count = recv(descriptor, &piece, piece.count, 0)
    guard count >= 0 else { throw HarnessError("receive: \(String(cString: strerror(errno)))") }
    if count == 0 { isFinished = true }
    buffer += piece[..<count]
    return count > 0
  }

  /// Takes `count` bytes; throws if the connection ends before.
  func take(_ count: Int) throws -> [UInt8] {
    while buffer.count < count {
      guard try receive() else { throw HarnessError("the connection ended too early") }
    }
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }

  /// Takes the bytes before the separator, and the separator.
  func take(until separator: String) throws -> String {
    let bytes = Array(separator.utf8)
    var from = 0
    while true {
      if buffer.count >= bytes.count {
        for start in from...(buffer.count - bytes.count)
        where buffer[start..<(start + bytes.count)].elementsEqual(bytes) {
          defer { buffer.removeFirst(start + bytes.count) }
          return String(decoding: buffer[..<start], as: UTF8.self)
        }
        from = buffer.count - bytes.count + 1
      }
      guard try receive() else { throw HarnessError("the connection ended too early") }
    }
  }

  /// Everything up to the end.
  func takeRest() throws -> [UInt8] {
    while try receive() {}
    defer { buffer = [] }
    return buffer
  }

  /// Whether the peer closed the connection, by FIN or reset, without another byte.
  func endsQuietly() -> Bool {
    while (try? receive()) == true {}
    return buffer.isEmpty
  }

  func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Unblocks a thread that reads or writes here.
  func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// Calls `body` with the address of a loopback port.
func withLoopback<R>(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = in_port_t(port).bigEndian
  address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
  return withUnsafePointer(to: address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}

/// Calls `body` with the address of a Unix socket.
func withUnixAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { place in
    for (index, byte) in path.utf8.enumerated() where index < place.count - 1 {
      place[index] = byte
    }
  }
  return withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
}

/// A listening socket on a port that the kernel chose.
final class Listening: Sendable {
  let descriptor: Int32
  let port: Int

  init(backlog: Int32 = 128) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    self.descriptor = descriptor
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening =
      withLoopback(0, { bind(descriptor, $0, $1) }) == 0 && listen(descriptor, backlog) == 0
      && withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          getsockname(descriptor, $0, &length)
        }
      } == 0
    port = Int(in_port_t(bigEndian: address.sin_port))
    guard isListening else {
      throw HarnessError("can't listen: \(String(cString: strerror(errno)))")
    }
  }

  /// On a Unix socket.
  init(path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    port = 0
    let descriptor = descriptor
    let isListening =
      withUnixAddress(path) { bind(descriptor, $0, $1) } == 0 && listen(descriptor, 128) == 0
    guard isListening else {
      throw HarnessError("can't listen on \(path): \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }

  func accept() -> Wire? {
    let accepted = clinux_accept4(descriptor, nil, nil, O_CLOEXEC)
    return accepted < 0 ? nil : Wire(descriptor: accepted)
  }

  func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// A port without a listener.
func freePort() throws -> Int { try Listening().port }

/// The kernel's table of connections. Foundation would only read its first page.
func connectionTable() -> String {
  let descriptor = open("/proc/net/tcp", O_RDONLY | O_CLOEXEC)
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var block = [UInt8](repeating: 0, count: 65536)
  while case let count = read(descriptor, &block, block.count), count > 0 {
    bytes += block[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// Whether there is an established connection to this local port that neither end has closed. It
/// checks the connecting side, in the kernel's own table, so a close in progress doesn't count as
/// established.
func hasEstablishedConnection(toPort port: Int) -> Bool {
  let table = connectionTable()
  let established = ":" + String(format: "%04X", port) + " 01"
  // Columns: number, local address, remote address, state.
  return table.split(separator: "\n").dropFirst().contains { line in
    let columns = line.split(separator: " ")
    return columns.count > 3 && (columns[2] + " " + columns[3]).hasSuffix(established)
  }
}
