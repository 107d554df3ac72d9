// Memory: what the process uses, and its limit according to the kernel's files.

import Testing

@testable import Reactor

@Suite struct MemoryTests {
  @Test func thisProcessHasSomeMemoryAndMayHaveMore() throws {
    let resident = try #require(Memory.resident)
    let available = try #require(Memory.available)
    #expect(resident > 1 << 20)
    #expect(available > resident)
  }

  private func available(_ files: [String: String]) -> Int? {
    Memory.available { files[$0] }
  }

  @Test func withoutControlGroupsItIsTheMachines() {
    #expect(
      available(["/proc/meminfo": "MemTotal:       16 kB\nMemFree:  8 kB\n"]) == 16 * 1024)
    #expect(available([:]) == nil)
  }

  @Test func theSmallestLimitAboveTheProcessCounts() {
    let files = [
      "/proc/meminfo": "MemTotal: 1024 kB\n", "/proc/self/cgroup": "0::/a/b\n",
      "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "4096\n",
      "/sys/fs/cgroup/memory.max": "8192\n",
    ]
    #expect(available(files) == 4096)
  }

  @Test func theFirstVersionOfControlGroupsCountsToo() {
    let files = [
      "/proc/meminfo": "MemTotal: 1024 kB\n", "/proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n",
      "/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "5000\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    ]
    #expect(available(files) == 5000)
  }
}
