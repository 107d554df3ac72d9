// Process settings: user, group, PID file, core dumps.

extension Configuration {
  public struct Process: Hashable, Sendable {
    /// How to handle private keys that users other than the owner can read or change.
    public enum ExposedKeys: String, Choice {
      case warn
      case refuse
      static var noun: String { "a policy for exposed keys" }
    }

    /// The user that root switches to before it opens anything; nil to keep the user.
    public var user: String?
    /// Instead of the user's primary group.
    public var group: String?
    /// The file for the ID of the serving process.
    public var pidFile: String?
    public var coreDumps = false
    public var exposedKeys = ExposedKeys.warn

    public init() {}
  }
}

extension Configuration.Process: Section {
  static let title = "process"
  static let about = "User, group, PID file and security of the process."
  static let keys: [Key<Self>] = [
    Key(
      "user", optional: \.user, .name,
      "User to run as, if root starts Martlet. Martlet switches to this user before it opens any "
        + "file, and keeps only the right to bind ports below 1024. So a file that this user "
        + "can't read is reported at the start, not at a later reload. The user must be able to "
        + "read the private keys."),
    Key(
      "group", optional: \.group, .name,
      "Group to run as. Default: the primary group of `user`."),
    Key(
      "pid-file", optional: \.pidFile, .file,
      "File for the process ID of the serving process. `martlet upgrade` reads it. The user that "
        + "Martlet runs as must be able to write to its directory."),
    Key(
      "core-dumps", \.coreDumps, .flag,
      "Allow core dumps after a crash. Off by default, because a core dump contains private "
        + "keys."),
    Key(
      "exposed-keys", \.exposedKeys, .choice,
      "What to do with a private key that every user can read, or that users other than its "
        + "owner can change. `warn`: use it, and log a warning. `refuse`: report an error; "
        + "Martlet does not start."),
  ]
}
