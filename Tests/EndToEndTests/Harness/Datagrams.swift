// UDP peers of Martlet: a socket that a test uses as a client, and a backend on a thread.

import Foundation
import Glibc
import Testing

/// A UDP socket on 127.0.0.1.
final class DatagramSocket: Sendable {
  let descriptor: Int32
  let port: Int

  /// - Parameter port: 0 lets the kernel choose.
  init(port: Int = 0, host: String = "127.0.0.1") throws {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = Self.address(port, host)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
    }
    self.descriptor = descriptor
    guard bound == 0 else { throw HarnessError("bind: \(errno)") }
    var actual = sockaddr_in()
    withUnsafeMutablePointer(to: &actual) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = getsockname(descriptor, $0, &length)
      }
    }
    self.port = Int(UInt16(bigEndian: actual.sin_port))
  }

  deinit { Glibc.close(descriptor) }

  private static func address(_ port: Int, _ host: String) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = inet_addr(host)
    return address
  }

  func send(_ bytes: [UInt8], to port: Int, host: String = "127.0.0.1") {
    var address = Self.address(port, host)
    withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = sendto(
          descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  func send(_ text: String, to port: Int, host: String = "127.0.0.1") {
    send(Array(text.utf8), to: port, host: host)
  }

  /// The next datagram and the address of its sender; nil if none comes in time.
  func receive(within seconds: Double = 5) -> (bytes: [UInt8], host: String, port: Int)? {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&entry, 1, Int32(seconds * 1000)) > 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    var from = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let count = withUnsafeMutablePointer(to: &from) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &bytes, bytes.count, 0, $0, &length)
      }
    }
    guard count >= 0 else { return nil }
    return (
      Array(bytes[..<count]), String(cString: inet_ntoa(from.sin_addr)),
      Int(UInt16(bigEndian: from.sin_port))
    )
  }

  func receiveText(within seconds: Double = 5) -> String? {
    receive(within: seconds).map { String(decoding: $0.bytes, as: UTF8.self) }
  }

  /// Sends, and returns the reply.
  func ask(_ text: String, _ port: Int, within seconds: Double = 5) -> String? {
    send(text, to: port)
    return receiveText(within: seconds)
  }
}

/// A UDP server on a thread. It replies to each datagram with its name, a colon and the datagram.
final class StubDatagrams: ConfiguredBackend, @unchecked Sendable {
  let name: String
  let port: Int
  private let replyCount: Int
  private let lock = NSLock()
  private var socket: DatagramSocket?
  private var seen: [(text: String, port: Int)] = []
  private var isEnded = false

  var address: String { "127.0.0.1:\(port)" }
  var json: String { "\"\(address)\"" }

  /// - Parameter replies: to each datagram.
  init(_ name: String, replies: Int = 1, port: Int = 0) throws {
    self.name = name
    replyCount = replies
    let socket = try DatagramSocket(port: port)
    self.socket = socket
    self.port = socket.port
    Foundation.Thread.detachNewThread { [self] in serve() }
  }

  private func serve() {
    while let socket = lock.withLock({ isEnded ? nil : self.socket }) {
      guard let (bytes, host, port) = socket.receive(within: 0.05) else { continue }
      let text = String(decoding: bytes, as: UTF8.self)
      lock.withLock { seen.append((text, port)) }
      for _ in 0..<replyCount {
        socket.send(Array("\(name):".utf8) + bytes, to: port, host: host)
      }
    }
  }

  /// What has come, with the port of the sender.
  var received: [(text: String, port: Int)] { lock.withLock { seen } }
  var texts: [String] { received.map(\.text) }

  /// Closes the port, which is refused from now on.
  func end() {
    lock.withLock {
      isEnded = true
      socket = nil
    }
  }
}
