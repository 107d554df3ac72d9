// Shrinks a failing run: removes parts of its plan as long as it fails in the same way.
//
// It is deterministic, since each try is a run from the same seed, and it has a maximum number of
// tries. Removing a part also changes the random choices of all others, so the result isn't
// minimal, but much smaller.

import Primitives

struct Shrinking {
  private let fails: (SimulationPlan) -> [String]
  private var triesLeft: Int
  private var signatures: Set<String>
  private(set) var plan: SimulationPlan

  /// `fails` runs a plan and returns its faults; `faults` are those of `plan`.
  init(
    _ plan: SimulationPlan, faults: [String], tries: Int = 600,
    fails: @escaping (SimulationPlan) -> [String]
  ) {
    self.plan = plan
    self.fails = fails
    triesLeft = tries
    signatures = Set(faults.map(Self.signature))
  }

  /// A fault without its numbers: equal for two runs that fail in the same way.
  static func signature(_ fault: String) -> String {
    String(fault.filter { !$0.isNumber })
  }

  /// The remaining plan.
  mutating func shrink() -> SimulationPlan {
    var before = -1
    while before != weight && triesLeft > 0 {
      before = weight
      removeEach(\.clients)
      removeEach(\.events)
      removeEach(\.crowds)
      removeEach(\.floods)
      removeEach(\.flows)
      for index in plan.clients.indices { removeEach(\.clients[index].ids) }
      simplify { $0.workerCount = 1 }
      simplify { $0.policy = PolicyPlan() }
      for index in plan.clients.indices { simplify { $0.clients[index].restMax = .zero } }
      for index in plan.backends.indices { simplify { $0.backends[index].isReliable = true } }
      smoothen()
      for id in plan.clients.flatMap(\.ids) { simplifyRequest(id) }
      for index in plan.flows.indices { simplifyFlow(index) }
    }
    if plan.flows.isEmpty {
      simplify { plan in
        plan.layer4 = Layer4Plan()
        for index in plan.configurations.indices {
          plan.configurations[index].layer4 = Layer4Configuration()
        }
      }
    }
    return plan
  }

  /// The number of parts.
  private var weight: Int {
    plan.clients.reduce(0) { $0 + $1.ids.count } + plan.clients.count + plan.events.count
      + plan.crowds.count + plan.floods.count + plan.flows.count
      + plan.requests.reduce(0) { $0 + $1.size.bitWidth }
  }

  /// Whether `candidate` still fails; if so, it becomes the plan.
  private mutating func accept(_ candidate: SimulationPlan) -> Bool {
    if triesLeft == 0 { return false }
    triesLeft -= 1
    let faults = fails(candidate)
    if signatures.isDisjoint(with: faults.map(Self.signature)) { return false }
    plan = candidate
    return true
  }

  private mutating func simplify(_ change: (inout SimulationPlan) -> Void) {
    var candidate = plan
    change(&candidate)
    _ = accept(candidate)
  }

  /// Removes halves, then quarters, and finally single elements.
  private mutating func removeEach<Element>(_ list: WritableKeyPath<SimulationPlan, [Element]>) {
    var size = (plan[keyPath: list].count + 1) / 2
    while size > 0 {
      var start = 0
      while start < plan[keyPath: list].count {
        var candidate = plan
        let end = min(start + size, candidate[keyPath: list].count)
        candidate[keyPath: list].removeSubrange(start..<end)
        if !accept(candidate) { start += size }
      }
      size = size == 1 ? 0 : (size + 1) / 2
    }
  }

  private mutating func smoothen() {
    let smooth = NetworkConditions.smooth
    simplify { $0.conditions = smooth }
    simplify { $0.conditions.partialCounts = 0 }
    simplify { $0.conditions.spuriousReports = 0 }
    simplify { $0.conditions.wakeUps = 0 }
    simplify { $0.conditions.exhaustion = 0 }
    simplify { $0.conditions.abortedAccepts = 0 }
    simplify { $0.conditions.turnCost = 0 }
    simplify { $0.conditions.batchMax = 64 }
    simplify { $0.conditions.latency = smooth.latency }
  }

  private mutating func simplifyRequest(_ id: Int) {
    if plan.requests[id].departure != nil { simplify { $0.requests[id].departure = nil } }
    if !plan.requests[id].isAnsweredKindly {
      simplify { $0.requests[id].isAnsweredKindly = true }
    }
    if plan.requests[id].size > 0 {
      simplify { $0.requests[id].size = 0 }
      simplify { $0.requests[id].size /= 16 }
    }
    if plan.requests[id].expectsContinue {
      simplify { $0.requests[id].expectsContinue = false }
    }
  }

  private mutating func simplifyFlow(_ index: Int) {
    simplify { $0.flows[index].clientDeafness = nil }
    simplify { $0.flows[index].backendDeafness = nil }
    simplify { $0.flows[index].rest = nil }
    simplify { $0.flows[index].dialogue = .free }
    simplify { $0.flows[index].upSize = 0 }
    simplify { $0.flows[index].downSize = 0 }
    simplify { $0.flows[index].upSize /= 16 }
    simplify { $0.flows[index].downSize /= 16 }
    simplify { $0.flows[index].clientEnd = .finishes }
    simplify { $0.flows[index].backendEnd = .follows }
  }
}
