// The limit of open files and sockets of this process (RLIMIT_NOFILE).

import Glibc

public enum DescriptorLimit {
  /// Raises the soft limit to the hard limit, since the usual soft limit of 1024 is meant for
  /// select() and too low for a proxy. Returns the new limit.
  public static func raise() -> Int {
    var limit = rlimit()
    if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) < 0 { return 0 }
    if limit.rlim_cur < limit.rlim_max {
      var raised = limit
      raised.rlim_cur = limit.rlim_max
      if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 {
        limit = raised
      }
    }
    return Int(clamping: limit.rlim_cur)
  }
}
