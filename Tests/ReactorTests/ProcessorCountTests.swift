// The number of usable processors: affinity, and the quotas of containers.

import Glibc
import Testing

@testable import Reactor

@Suite struct ProcessorCountTests {
  private func quota(_ files: [String: String]) -> Double? {
    ProcessorCount.quota { files[$0] }
  }

  @Test func withoutControlGroupsThereIsNoQuota() {
    #expect(quota([:]) == nil)
    #expect(quota(["/proc/self/cgroup": "0::/\n"]) == nil)
    #expect(
      quota(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"]) == nil)
  }

  @Test func theSmallestQuotaOnTheWayUpCounts() {
    #expect(
      quota([
        "/proc/self/cgroup": "0::/site/martlet\n",
        "/sys/fs/cgroup/site/martlet/cpu.max": "400000 100000\n",
        "/sys/fs/cgroup/site/cpu.max": "150000 100000\n",
        "/sys/fs/cgroup/cpu.max": "800000 100000\n",
      ]) == 1.5)
  }

  @Test func aPathThatIsNotMountedFallsBackToTheRootOfTheMount() {
    #expect(
      quota([
        "/proc/self/cgroup": "0::/docker/abc\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n",
      ]) == 0.5)
  }

  @Test func versionOneIsReadFromItsOwnHierarchy() {
    let files = [
      "/proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/b\n",
      "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "300000\n",
      "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu/b/cpu.cfs_quota_us": "1\n",
      "/sys/fs/cgroup/cpu/b/cpu.cfs_period_us": "100000\n",
    ]
    #expect(quota(files) == 3)
  }

  @Test func brokenFilesAreNoQuota() {
    #expect(
      quota(["/proc/self/cgroup": "nonsense\n0::/\n", "/sys/fs/cgroup/cpu.max": "1e9 x"]) == nil)
    #expect(quota(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "5 0"]) == nil)
  }

  @Test func thereIsAtLeastOneProcessorAndNoMoreThanTheMachineHas() {
    #expect(ProcessorCount.available >= 1)
    #expect(ProcessorCount.available <= sysconf(Int32(_SC_NPROCESSORS_CONF)))
  }
}
