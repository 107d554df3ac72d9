// The resources used by this process so far, as counted by the kernel. It reads files, so it is not
// for workers.

// Either module can be the one that `timeval` counts as defined in.
import CLinux
import Glibc

public enum ProcessUsage {
  /// Processor time of all threads, in user and kernel mode.
  public static var cpuSeconds: Double? {
    var usage = rusage()
    if unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) < 0 { return nil }
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
    return Double(seconds) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
  }

  /// The number of open descriptors; nil when the kernel doesn't report it.
  public static var openDescriptors: Int? {
    guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
    defer { unsafe closedir(directory) }
    // Minus the entries for itself, for its parent, and for this listing.
    var count = -3
    while unsafe readdir(directory) != nil { count += 1 }
    return max(0, count)
  }
}
