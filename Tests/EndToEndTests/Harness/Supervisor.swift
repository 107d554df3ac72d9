// Acts like systemd for a service: a datagram socket for its notifications, and listening sockets
// that are opened before it starts.

import Foundation

/// systemd's end of NOTIFY_SOCKET.
final class Supervisor: Sendable {
  let name: String
  private let descriptor: Int32

  /// `name` is a path, or begins with "@" for an abstract name.
  init(_ name: String) throws {
    self.name = name
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { bytes in
      bytes.copyBytes(from: Array(name.utf8))
      if name.hasPrefix("@") { bytes[0] = 0 }
    }
    let length = socklen_t(2 + name.utf8.count)
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length)
      }
    }
    guard result == 0 else { throw HarnessError("bind: \(String(cString: strerror(errno)))") }
    var time = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  var environment: [String: String] { ["NOTIFY_SOCKET": name] }

  /// The lines of the next datagram; none after half a minute without one.
  func next() -> [String] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = recv(descriptor, &bytes, bytes.count, 0)
    guard count > 0 else { return [] }
    return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// Whether there is no further datagram.
  var isQuiet: Bool {
    var byte: UInt8 = 0
    return recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) < 0
  }
}

/// Opens sockets as a systemd socket unit does, and executes a service with them. The ports are
/// written to the file `ports`, one per line.
let activatingLauncher = """
  import fcntl, os, socket, sys
  names, families = sys.argv[1], sys.argv[2].split(",")
  sockets = []
  for family in families:
      kind = socket.AF_INET6 if family == "dual" else socket.AF_INET
      each = socket.socket(kind, socket.SOCK_STREAM)
      if family == "dual":
          each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
      each.bind(("::" if family == "dual" else "127.0.0.1", 0))
      each.listen(64)
      sockets.append(each)
  with open("fresh", "w") as file:
      file.write("".join(f"{each.getsockname()[1]}\\n" for each in sockets))
  os.rename("fresh", "ports")
  with open("config.json") as file:
      text = file.read()
  for index, each in enumerate(sockets):
      text = text.replace(f"PORT{index}", str(each.getsockname()[1]))
  with open("config.json", "w") as file:
      file.write(text)
  # First out of the way, since their places may be taken by one another.
  spare = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 100) for each in sockets]
  for index, fd in enumerate(spare):
      os.dup2(fd, 3 + index)
  os.closerange(3 + len(sockets), 200)
  os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.get("WRONG_PID", "0")))
  os.environ["LISTEN_FDS"] = str(len(sockets))
  os.environ["LISTEN_FDNAMES"] = names
  os.execv(sys.argv[3], sys.argv[3:])
  """
