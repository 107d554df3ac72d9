// What a running process gives to the one that takes over from it, and how it is written down.
//
// Lines of fields with a tab between them, the kind first. The two processes may be of different
// versions, so kinds and further fields that a reader doesn't know are passed over; the version in
// the first line changes when even that wouldn't do. It holds ticket keys, so it travels in a file
// in memory alone, never by arguments, the environment or a file with a name.

import Balancing
import Primitives

struct Handover: Equatable {
  /// Listening sockets by place, all that there are: see ListenerTable.
  var sockets: [(place: String, descriptors: [Int32])] = []
  /// The random ticket keys of each listener, and when the next is due.
  var ticketRings: [TicketRings.State] = []
  /// Under which backends' cookies stand for them, where the configuration gives no key.
  var cookieKey: [UInt8] = []
  var backends: [BackendState] = []
  /// What the names of backends were last resolved to, since they may not be to be resolved now.
  var names: [(name: String, addresses: [IPAddress])] = []

  init() {}

  // MARK: Writing

  var bytes: [UInt8] {
    var lines = [[Self.title, "\(Self.version)"]]
    for group in sockets {
      lines.append(["sockets", group.place] + group.descriptors.map { "\($0)" })
    }
    for ring in ticketRings {
      lines.append(
        ["ticket-ring", ring.listener, "\(ring.rotatesAt.nanoseconds)"]
          + ring.keys.map(Self.hexadecimal))
    }
    if !cookieKey.isEmpty { lines.append(["cookie-key", Self.hexadecimal(cookieKey)]) }
    for backend in backends {
      let fields = [
        "backend", backend.identity.pool, backend.identity.address, backend.isDown ? "down" : "up",
        "\(backend.ejections)", "\(backend.ejectedUntil.nanoseconds)",
        "\(backend.changedAt.nanoseconds)", "\(backend.admin.rawValue)", "\(backend.weight ?? 0)",
      ]
      // Only the path of a Unix socket can hold a separator; such a backend is met anew.
      if !fields.contains(where: { $0.contains("\t") || $0.contains("\n") }) {
        lines.append(fields)
      }
    }
    for (name, addresses) in names { lines.append(["name", name] + addresses.map { "\($0)" }) }
    return Array(lines.map { $0.joined(separator: "\t") + "\n" }.joined().utf8)
  }

  // MARK: Reading

  /// Nil for what isn't a handover of this version.
  init?(_ bytes: [UInt8]) {
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    guard lines.first == "\(Self.title)\t\(Self.version)" else { return nil }
    for line in lines.dropFirst() {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      switch fields[0] {
      case "sockets" where fields.count > 2:
        let descriptors = fields.dropFirst(2).compactMap { Int32($0) }
        sockets.append((fields[1], descriptors))
      case "ticket-ring" where fields.count > 3:
        ticketRings.append(
          TicketRings.State(
            listener: fields[1], keys: fields.dropFirst(3).map(Self.bytes(hexadecimal:)),
            rotatesAt: Instant(nanoseconds: UInt64(fields[2]) ?? .max)))
      case "cookie-key" where fields.count > 1:
        cookieKey = Self.bytes(hexadecimal: fields[1])
      case "backend":
        if let backend = Self.backend(fields) { backends.append(backend) }
      case "name" where fields.count > 2:
        names.append((fields[1], fields.dropFirst(2).compactMap { IPAddress($0) }))
      default:
        break
      }
    }
  }

  private static func backend(_ fields: [String]) -> BackendState? {
    guard fields.count > 8, let ejections = Int(fields[4]), let until = UInt64(fields[5]),
      let changed = UInt64(fields[6]), let admin = UInt8(fields[7]), let weight = Int(fields[8])
    else { return nil }
    return BackendState(
      identity: BackendIdentity(pool: fields[1], address: fields[2]),
      isDown: fields[3] == "down", ejections: ejections,
      ejectedUntil: Instant(nanoseconds: until), changedAt: Instant(nanoseconds: changed),
      admin: AdminState(rawValue: admin) ?? .enabled, weight: weight == 0 ? nil : weight)
  }

  // MARK: Parts

  private static let title = "martlet-handover"
  private static let version = 1

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
      let digits = String(byte, radix: 16)
      return byte < 16 ? "0" + digits : digits
    }.joined()
  }

  private static func bytes(hexadecimal text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map { index in
      UInt8(digits[index] << 4 | digits[index + 1])
    }
  }

  static func == (left: Handover, right: Handover) -> Bool { left.bytes == right.bytes }
}
