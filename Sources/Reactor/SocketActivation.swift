// Listening sockets that systemd opened for this process: socket activation (sd_listen_fds(3)),
// without a library.

public struct ActivatedSocket: Sendable {
  /// FileDescriptorName= of the socket unit, or the name of the unit.
  public let name: String
  public let descriptor: Int32

  /// Returns the sockets that were passed to this process. The variables are removed; they are
  /// ignored if they were meant for another process.
  public static func take() -> [ActivatedSocket] {
    let process = Environment.take("LISTEN_PID").flatMap { Int32($0) }
    let count = Environment.take("LISTEN_FDS").flatMap { Int32($0) } ?? 0
    let names = Environment.take("LISTEN_FDNAMES") ?? ""
    guard process == CurrentProcess.id, count > 0 else { return [] }
    let list = names.split(separator: ":", omittingEmptySubsequences: false)
    return (0..<Int(min(count, descriptorMax))).map { index in
      ActivatedSocket(
        name: index < list.count ? String(list[index]) : "",
        descriptor: firstDescriptor + Int32(index))
    }
  }

  /// SD_LISTEN_FDS_START
  private static let firstDescriptor: Int32 = 3
  private static let descriptorMax: Int32 = 1000
}
