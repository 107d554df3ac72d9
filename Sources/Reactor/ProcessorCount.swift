// How many workers this process can really run at once.
//
// Three things bound it: the processors of the machine, the affinity mask (taskset, cpuset) and the
// CPU quota of the control groups around the process (docker --cpus, a pod's limit). With more
// workers than quota the kernel stops all of them for the rest of each period, which clients see
// as stalls of tens of milliseconds.

import CLinux
import Glibc

public enum ProcessorCount {
  /// At least 1; a fractional quota is rounded up.
  public static var available: Int {
    var count = Int(clinux_affinity_count())
    if count <= 0 { count = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
    let quota = quota { path in
      (try? File.read(path, limit: 64 * 1024)).map { String(decoding: $0, as: UTF8.self) }
    }
    guard let quota else { return count }
    return max(1, min(count, Int(quota.rounded(.up))))
  }

  /// The smallest CPU quota of the process's control group and those above it, in processors; nil
  /// without any. In a container the path in /proc may be the host's, which isn't mounted: then
  /// only the part of the walk that exists counts, and it always ends at the mount's root.
  static func quota(reading file: (String) -> String?) -> Double? {
    guard let groups = file("/proc/self/cgroup") else { return nil }
    var smallest: Double?
    for line in groups.split(separator: "\n") {
      // hierarchy:controllers:path, with an empty list of controllers for version 2.
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let controllers = parts[1].split(separator: ",")
      if !parts[1].isEmpty && !controllers.contains("cpu") { continue }
      for group in ancestors(of: String(parts[2])) {
        let quota =
          parts[1].isEmpty
          ? quotaV2(file("/sys/fs/cgroup\(group)/cpu.max"))
          : quotaV1(
            file("/sys/fs/cgroup/cpu\(group)/cpu.cfs_quota_us"),
            file("/sys/fs/cgroup/cpu\(group)/cpu.cfs_period_us"))
        if let quota { smallest = min(smallest ?? quota, quota) }
      }
    }
    return smallest
  }

  /// `/a/b` gives `/a/b`, `/a` and the empty path.
  private static func ancestors(of path: String) -> [String] {
    var names = path.split(separator: "/")
    var paths: [String] = []
    while !names.isEmpty {
      paths.append("/" + names.joined(separator: "/"))
      names.removeLast()
    }
    return paths + [""]
  }

  /// cpu.max: `max 100000`, or quota and period in microseconds.
  private static func quotaV2(_ text: String?) -> Double? {
    let parts = text?.split { $0 == " " || $0 == "\n" } ?? []
    guard parts.count == 2 else { return nil }
    return ratio(Int(parts[0]), Int(parts[1]))
  }

  /// cpu.cfs_quota_us is -1 without a quota.
  private static func quotaV1(_ quota: String?, _ period: String?) -> Double? {
    ratio(
      quota.flatMap { Int($0.prefix { $0 != "\n" }) },
      period.flatMap { Int($0.prefix { $0 != "\n" }) })
  }

  private static func ratio(_ quota: Int?, _ period: Int?) -> Double? {
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    return Double(quota) / Double(period)
  }
}
