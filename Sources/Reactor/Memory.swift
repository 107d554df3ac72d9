// The memory that this process uses, and its limit. For the control thread, since it reads kernel
// files.

import CLinux
import Glibc

public enum Memory {
  /// The resident memory of this process in bytes; nil when the kernel doesn't report it.
  public static var resident: Int? {
    // Size and resident memory in pages, and other fields.
    let fields = ControlGroups.text(of: "/proc/self/statm")?.split(separator: " ") ?? []
    guard fields.count > 1, let pages = Int(fields[1]) else { return nil }
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// The memory of the machine, or the lower limit of a control group, in bytes; nil when the
  /// kernel doesn't report it.
  public static var available: Int? { available(reading: ControlGroups.text) }

  static func available(reading file: (String) -> String?) -> Int? {
    var smallest = file("/proc/meminfo").flatMap(total)
    for folder in ControlGroups.folders(of: "memory", reading: file) {
      let name = folder.isV2 ? "memory.max" : "memory.limit_in_bytes"
      // `max`, or a very large number, means no limit.
      guard let text = file("\(folder.path)/\(name)"),
        let limit = Int(text.prefix { $0 != "\n" })
      else { continue }
      smallest = min(smallest ?? limit, limit)
    }
    return smallest
  }

  /// The line `MemTotal: 123 kB`, in bytes.
  private static func total(_ text: String) -> Int? {
    for line in text.split(separator: "\n") where line.hasPrefix("MemTotal:") {
      let fields = line.split(separator: " ")
      return fields.count > 1 ? Int(fields[1]).map { $0 * 1024 } : nil
    }
    return nil
  }

  /// Returns freed memory, which the allocator would keep, to the kernel.
  public static func giveBack() { clinux_trim_memory() }
}
