// The sockets that listen on a port, from the kernel's tables of TCP and UDP sockets in /proc.
//
// It has the sockets of all processes, also of those that share a port with this one by
// SO_REUSEPORT. A socket on `::` that also accepts IPv4 is in the table of IPv6 only. Without /proc
// the table is empty.

import Glibc
import Primitives

enum PortTable {
  /// The maximum number of lines: far more than the listening sockets of a machine.
  private static let byteCountMax = 4 << 20

  /// The inodes of the sockets that listen on an address that overlaps this one.
  static func inodes(
    listeningOn address: SocketAddress, _ carrier: ListeningSockets.Carrier = .tcp
  ) -> Set<UInt64> {
    guard case .ip(let ip, _) = address else { return [] }
    var inodes: Set<UInt64> = []
    let table = carrier == .tcp ? "/proc/net/tcp" : "/proc/net/udp"
    for line in listeningLines(of: ip.isV4 ? table : table + "6", carrier) {
      // Number, local address, remote address, state, queues, timer, retransmits, user, timeout.
      let columns = line.split(separator: " ")
      guard columns.count > 9, let inode = UInt64(columns[9]),
        let local = socketAddress(columns[1]), local.overlaps(address)
      else { continue }
      inodes.insert(inode)
    }
    return inodes
  }

  /// The kernel lists the listening sockets before all others, of which there may be very many.
  /// Connected UDP sockets are between those that are not.
  private static func listeningLines(
    of path: String, _ carrier: ListeningSockets.Carrier
  ) -> [Substring] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return [] }
    defer { _ = Glibc.close(descriptor) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 64 * 1024)
    while bytes.count < byteCountMax {
      let count = unsafe block.withUnsafeMutableBytes {
        unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
      }
      if count <= 0 { break }
      bytes += block[..<count]
      let end = bytes.lastIndex(of: 0x0A) ?? 0
      let start = bytes[..<end].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
      if carrier == .udp || start == 0 { continue }
      if !isListening(Substring(decoding: bytes[start..<end], as: UTF8.self)) { break }
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst()
      .filter { carrier == .tcp ? isListening($0) : isUnconnected($0) }
  }

  private static func isListening(_ line: Substring) -> Bool {
    let columns = line.split(separator: " ", maxSplits: 4)
    return columns.count > 3 && columns[3] == "0A"
  }

  private static func isUnconnected(_ line: Substring) -> Bool {
    let columns = line.split(separator: " ", maxSplits: 4)
    return columns.count > 3 && columns[3] == "07"
  }

  /// Such as `0100007F:0050`: the words of the address in the byte order of this machine, and the
  /// port.
  private static func socketAddress(_ text: Substring) -> SocketAddress? {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let port = UInt16(parts[1], radix: 16) else { return nil }
    let digits = Array(parts[0])
    var words: [UInt64] = []
    for start in stride(from: 0, to: digits.count, by: 8) {
      guard start + 8 <= digits.count,
        let word = UInt32(String(digits[start..<(start + 8)]), radix: 16)
      else { return nil }
      words.append(UInt64(UInt32(bigEndian: word)))
    }
    switch words.count {
    case 1: return .ip(IPAddress(v4: UInt32(words[0])), port: port)
    case 4:
      return .ip(
        IPAddress(high: words[0] << 32 | words[1], low: words[2] << 32 | words[3]), port: port)
    default: return nil
    }
  }
}
