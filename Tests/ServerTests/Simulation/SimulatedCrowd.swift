// Many clients that connect at once and request nothing: they wait, or begin a head and never
// finish it, and leave.

import Primitives

final class SimulatedCrowd: SimulatedActor {
  private struct Member {
    let endpoint: SimulatedEndpoint
    let leavesAt: Instant
    var begins: Bool
  }

  private let plan: CrowdPlan
  private var random: RandomGenerator
  private var members: [Member] = []
  private var hasCome = false
  private var input = ByteBuffer()

  init(network: SimulatedNetwork, plan: CrowdPlan) {
    self.plan = plan
    random = RandomGenerator(seed: plan.seed)
    super.init(network: network)
    wake(after: plan.time)
  }

  var isDone: Bool { hasCome && members.isEmpty }

  override func act() {
    if !hasCome {
      hasCome = true
      for index in 0..<plan.count {
        let address = SocketAddress.ip(
          IPAddress(v4: 0x0A00_FF00 + UInt32(index & 0xFF)), port: UInt16(50_000))
        let patience = TimeSpan.nanoseconds(
          Int64(random.next(below: Int(plan.patience.nanoseconds) + 1)))
        members.append(
          Member(
            endpoint: network.dial(0, by: self, from: address), leavesAt: network.now + patience,
            begins: random.chance(1, in: 2)))
      }
    }
    for index in members.indices { attend(&members[index]) }
    members.removeAll { $0.endpoint.phase == .closed }
    if let next = members.map(\.leavesAt).min() {
      wake(after: max(.nanoseconds(1), next - network.now))
    }
  }

  private func attend(_ member: inout Member) {
    let endpoint = member.endpoint
    if endpoint.isBroken || network.now >= member.leavesAt {
      return network.hangUp(endpoint, reset: random.chance(1, in: 2))
    }
    if endpoint.phase == .connecting { return }
    if member.begins {
      member.begins = false
      _ = network.write(Array("GET / HT".utf8).span, from: endpoint)
    }
    while true {
      input.removeAll()
      switch network.read(endpoint, into: &input, limit: 1024) {
      case .bytes: continue
      case .nothingYet: return
      case .finished, .broken: return network.hangUp(endpoint, reset: false)
      }
    }
  }
}
