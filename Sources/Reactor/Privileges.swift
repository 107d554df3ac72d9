// Giving up root's rights, and keeping what is in memory from others.
//
// Everything else is opened afterwards, by the user that Martlet runs as, so that what this user
// may not do is found at the start and not at a reload weeks later. Low ports can be bound then as
// well, because one capability stays: CAP_NET_BIND_SERVICE, also over the exec of an upgrade
// (ambient), and no other, nor any that a file could bring (no_new_privs).
//
// Capabilities belong to a thread, and later threads inherit them: so this comes before any other
// thread is started. User and group ids glibc changes for the whole process.

import CLinux
import Glibc

/// A user to run as, with its groups.
public struct Identity: Sendable {
  public let name: String
  let user: uid_t
  let group: gid_t

  /// Nil when there is no such user or group. `group` in place of the user's own.
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

  /// Whether this process runs as this user and group already.
  public var isCurrent: Bool {
    getuid() == user && geteuid() == user && getgid() == group && getegid() == group
  }
}

public enum Privileges {
  public static var isRoot: Bool { geteuid() == 0 }

  /// Becomes `identity` for good. Throws EPERM for anybody but root.
  public static func drop(to identity: Identity) throws(SystemError) {
    if clinux_keep_capabilities() < 0 { throw .last }
    if unsafe initgroups(identity.name, identity.group) < 0 { throw .last }
    if setgid(identity.group) < 0 { throw .last }
    if setuid(identity.user) < 0 { throw .last }
    if clinux_keep_only_bind_capability() < 0 || clinux_no_new_privileges() < 0 { throw .last }
    // What was given up can't be taken back; if it could, it wasn't given up.
    if identity.user != 0 && setuid(0) == 0 { throw SystemError(code: EPERM) }
  }

  /// Whether a crash may leave this process's memory, with every private key in it, in a file; and
  /// whether other processes of the same user may look into it.
  public static func allowCoreDumps(_ isAllowed: Bool) throws(SystemError) {
    if clinux_set_dumpable(isAllowed ? 1 : 0) < 0 { throw .last }
    if isAllowed { return }
    var limit = rlimit()
    if unsafe getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) < 0 { throw .last }
    limit.rlim_cur = 0
    if unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) < 0 { throw .last }
  }
}
