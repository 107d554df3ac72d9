// How Martlet runs as a process: as whom, and what it leaves for others to see.

extension Configuration {
  public struct Process: Hashable, Sendable {
    /// What is done about private keys that others than their owner can read or change.
    public enum ExposedKeys: String, Choice {
      case warn
      case refuse
      static var noun: String { "a policy for exposed keys" }
    }

    /// Whom root becomes before anything is opened; nil to stay whoever started it.
    public var user: String?
    /// In place of the user's own group.
    public var group: String?
    /// Where the process that serves leaves its id.
    public var pidFile: String?
    public var coreDumps = false
    public var exposedKeys = ExposedKeys.warn

    public init() {}
  }
}

extension Configuration.Process: Section {
  static let title = "process"
  static let about = "How Martlet runs as a process: as whom, and what it leaves for others to see."
  static let keys: [Key<Self>] = [
    Key(
      "user", optional: \.user, .name,
      "The user to run as, if root starts Martlet. It becomes that user before it opens anything, "
        + "and keeps nothing but the right to bind low ports. So whatever that user can't read is "
        + "found at the start and not at a reload weeks later: keys have to be readable by it."),
    Key("group", optional: \.group, .name, "The group to run as, in place of the user's own."),
    Key(
      "pid-file", optional: \.pidFile, .file,
      "A file for the id of the process that serves, where `martlet upgrade` finds it. Its "
        + "directory must be writable by the user that Martlet runs as."),
    Key(
      "core-dumps", \.coreDumps, .flag,
      "Whether a crash may leave the memory of the process in a file. Off, because private keys "
        + "are in it."),
    Key(
      "exposed-keys", \.exposedKeys, .choice,
      "What is done about a private key that every user can read, or that others than its owner "
        + "can change: `warn` serves it with a warning in the log, `refuse` doesn't start."),
  ]
}
