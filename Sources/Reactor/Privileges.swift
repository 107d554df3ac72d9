// Drops root's privileges, and protects the memory of this process.
//
// Everything else is opened after that, as the user that Martlet runs as. So missing permissions
// are found at the start, and not at a reload weeks later. Low ports can still be bound, because
// one capability is kept, CAP_NET_BIND_SERVICE, also over the exec of an upgrade (ambient). If a
// pool uses the clients' addresses, CAP_NET_RAW is kept too (TransparentSocket). No others are
// kept, and executed files can't add any (no_new_privs).
//
// Capabilities belong to a thread, and later threads inherit them, so call this before other
// threads start. glibc changes user and group ids for the whole process.

import CLinux
import Glibc

/// A user to run as, with its groups.
public struct Identity: Sendable {
  public let name: String
  let user: uid_t
  let group: gid_t

  /// Nil when there is no such user or group. `group` replaces the user's own group.
  public init?(user name: String, group: String?) {
    guard let entry = unsafe getpwnam(name) else { return nil }
    self.name = name
    user = unsafe entry.pointee.pw_uid
    if let group {
      guard let entry = unsafe getgrnam(group) else { return nil }
      self.group = unsafe entry.pointee.gr_gid
    } else {
      self.group = unsafe entry.pointee.pw_gid
    }
  }

  /// Whether this process already runs as this user and group.
  public var isCurrent: Bool {
    getuid() == user && geteuid() == user && getgid() == group && getegid() == group
  }
}

public enum Privileges {
  public static var isRoot: Bool { geteuid() == 0 }

  /// The user that this process runs as: its name, or its number if it has no name.
  public static var userName: String {
    guard let entry = unsafe getpwuid(geteuid()) else { return "\(geteuid())" }
    return unsafe String(cString: entry.pointee.pw_name)
  }

  /// Becomes `identity` permanently. Throws EPERM unless called by root.
  public static func drop(
    to identity: Identity, keepsRaw: Bool
  ) throws(SystemError) {
    if clinux_keep_capabilities() < 0 { throw .last }
    if unsafe initgroups(identity.name, identity.group) < 0 { throw .last }
    if setgid(identity.group) < 0 { throw .last }
    if setuid(identity.user) < 0 { throw .last }
    if clinux_keep_only_network_capabilities(keepsRaw ? 1 : 0) < 0 { throw .last }
    if clinux_no_new_privileges() < 0 { throw .last }
    // The privileges are only gone if they can't be regained.
    if identity.user != 0 && setuid(0) == 0 { throw SystemError(code: EPERM) }
  }

  /// Whether a core dump may contain this process's memory, including private keys, and whether
  /// other processes of the same user may read it.
  public static func allowCoreDumps(_ isAllowed: Bool) throws(SystemError) {
    if clinux_set_dumpable(isAllowed ? 1 : 0) < 0 { throw .last }
    if isAllowed { return }
    var limit = rlimit()
    if unsafe getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) < 0 { throw .last }
    limit.rlim_cur = 0
    if unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) < 0 { throw .last }
  }
}
