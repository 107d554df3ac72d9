// How many files and sockets the process may have open (RLIMIT_NOFILE).

import Glibc

public enum DescriptorLimit {
  /// Raises the soft limit to the hard one, since the usual soft limit of 1024 suits select() and
  /// not a proxy, and returns what is in force afterwards.
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
