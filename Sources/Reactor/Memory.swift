// How much memory the process has, and how much it may have. For the control thread: it reads
// files of the kernel.

import CLinux
import Glibc

public enum Memory {
  /// The bytes of this process that are in memory now; nil where the kernel doesn't say.
  public static var resident: Int? {
    // size and resident, in pages, and more.
    let fields = ControlGroups.text(of: "/proc/self/statm")?.split(separator: " ") ?? []
    guard fields.count > 1, let pages = Int(fields[1]) else { return nil }
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// What the machine has, or less when a control group around the process allows less; nil where
  /// the kernel doesn't say.
  public static var available: Int? { available(reading: ControlGroups.text) }

  static func available(reading file: (String) -> String?) -> Int? {
    var smallest = file("/proc/meminfo").flatMap(total)
    for folder in ControlGroups.folders(of: "memory", reading: file) {
      let name = folder.isV2 ? "memory.max" : "memory.limit_in_bytes"
      // `max`, or a number as large as can be, stands for no limit.
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

  /// Gives the kernel back what was freed, which the allocator would keep.
  public static func giveBack() { clinux_trim_memory() }
}
