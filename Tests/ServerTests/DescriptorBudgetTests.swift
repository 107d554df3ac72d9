// The shares of descriptors: their sum never exceeds the limit of the process.

import Testing

@testable import Server

@Suite struct DescriptorBudgetTests {
  @Test func `clients, backends, idle connections and the admin interface fit together`() {
    for workers in [1, 2, 3, 8, 64, 128] {
      for descriptors in [64, 100, 256, 1024, 4096, 65_536, 1_048_576] {
        let budget = DescriptorBudget(descriptors: descriptors, workers: workers)
        let ours = 32 + 8 * workers
        let all =
          2 * budget.clientMax + budget.idleUpstreamMax * workers + budget.adminMax + ours
        // With very few descriptors, the minimum that makes sense is allowed.
        if descriptors >= ours + 8 { #expect(all <= descriptors, "\(descriptors), \(workers)") }
        #expect(budget.clientMax > 0 && budget.adminMax > 1)
      }
    }
  }

  @Test func `with many descriptors clients get nearly all of them`() {
    let budget = DescriptorBudget(descriptors: 65_536, workers: 4)
    #expect(budget.clientMax > 28_000)
    #expect(budget.adminMax == AdminLimits.connectionMax)
    #expect(budget.idleUpstreamMax > 2000)
  }
}
