// How many workers can run in parallel in this process.
//
// It is the minimum of the machine's processors, the affinity mask (taskset, cpuset) and the CPU
// quota of the control groups (docker --cpus, a pod's limit). With more workers than quota, the
// kernel stops all of them for the rest of each period, and clients see pauses of tens of
// milliseconds.

import CLinux
import Glibc

public enum ProcessorCount {
  /// At least 1; a fractional quota is rounded up.
  public static var available: Int {
    var count = Int(clinux_affinity_count())
    if count <= 0 { count = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
    guard let quota = quota(reading: ControlGroups.text) else { return count }
    return max(1, min(count, Int(quota.rounded(.up))))
  }

  /// The smallest CPU quota of the process's control group and those above it, in processors; nil
  /// if there is none.
  static func quota(reading file: (String) -> String?) -> Double? {
    var smallest: Double?
    for folder in ControlGroups.folders(of: "cpu", reading: file) {
      let quota =
        folder.isV2
        ? quotaV2(file("\(folder.path)/cpu.max"))
        : quotaV1(
          file("\(folder.path)/cpu.cfs_quota_us"), file("\(folder.path)/cpu.cfs_period_us"))
      if let quota { smallest = min(smallest ?? quota, quota) }
    }
    return smallest
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
