// What the process has used so far, as the kernel counts it. It reads files: not for workers.

import Glibc

public enum ProcessUsage {
  /// Processor time of all threads, in user and kernel mode.
  public static var cpuSeconds: Double? {
    var usage = rusage()
    if unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) < 0 { return nil }
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
    return Double(seconds) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
  }

  /// How many descriptors are open; nil where the kernel doesn't say.
  public static var openDescriptors: Int? {
    guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
    defer { unsafe closedir(directory) }
    // Not the entries for itself, for its parent, and for this listing.
    var count = -3
    while unsafe readdir(directory) != nil { count += 1 }
    return max(0, count)
  }
}
