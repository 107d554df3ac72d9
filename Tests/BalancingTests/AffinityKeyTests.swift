// AffinityKey: the hashes are the documented ones, and say what belongs to a key.

import Primitives
import Testing

@testable import Balancing

@Suite struct AffinityKeyTests {
  private static func address(_ text: String) -> IPAddress { IPAddress(text)! }

  private static func flow(
    _ source: String = "192.0.2.1", _ port: UInt16 = 40_000,
    to destination: String = "198.51.100.7", _ destinationPort: UInt16 = 443,
    _ protocolNumber: UInt8 = Flow.tcp
  ) -> Flow {
    Flow(
      source: address(source), sourcePort: port, destination: address(destination),
      destinationPort: destinationPort, protocolNumber: protocolNumber)
  }

  @Test(
    arguments: [
      (AffinityKey.source, flow(), 0xE724_AF6C_6E59_5787),
      (.source, flow("::ffff:192.0.2.2"), 0xBB2E_8AA4_3F3C_0B9E),
      (.source, flow("2001:db8:1:2::3"), 0x49AC_2BE4_EA60_1682),
      (.twoTuple, flow(), 0xF732_C155_D3B4_7FA0),
      (.threeTuple, flow(), 0xB6FB_CE64_2E1C_F5B3),
      (.threeTuple, flow("192.0.2.1", 1, to: "198.51.100.7", 2, Flow.udp), 0xFE82_F4E9_F60F_4C9D),
      (.fiveTuple, flow(), 0x03BF_15F4_8559_F73D),
      (
        .fiveTuple, flow("2001:db8::a", 40_000, to: "2001:db8::b", 53, Flow.udp),
        0x33D8_DE4D_092F_67C4
      ),
    ] as [(AffinityKey, Flow, UInt64)])
  func theHashOfAConnectionIsTheDocumentedOne(_ key: AffinityKey, _ flow: Flow, _ hash: UInt64) {
    #expect(key.hash(of: flow) == hash)
  }

  @Test(
    arguments: [
      ("a", 0x3850_0713_C0D0_461F), ("alice", 0x5D5B_B51A_E30D_7ED2),
      ("12345678", 0x1551_FC69_40A5_0B51), ("session-0123456789", 0xB083_6785_F968_612D),
      ("Zoë", 0x0A0B_5EF2_5D98_CAEE), ("", 0),
    ] as [(String, UInt64)])
  func theHashOfTextIsTheDocumentedOne(_ text: String, _ hash: UInt64) {
    #expect(AffinityKey.hash(of: Array(text.utf8).span) == hash)
  }

  @Test func eachKeyHasItsParts() {
    let flow = Self.flow()
    let others: [(Flow, String)] = [
      (Self.flow("192.0.2.9"), "source"), (Self.flow("192.0.2.1", 1), "port"),
      (Self.flow(to: "198.51.100.8"), "destination"),
      (Self.flow(to: "198.51.100.7", 444), "destination port"),
      (Self.flow(to: "198.51.100.7", 443, Flow.udp), "protocol"),
    ]
    func parts(_ key: AffinityKey) -> [String] {
      others.filter { key.hash(of: $0.0) != key.hash(of: flow) }.map(\.1)
    }
    #expect(parts(.source) == ["source"])
    #expect(parts(.twoTuple) == ["source", "destination"])
    #expect(parts(.threeTuple) == ["source", "destination", "protocol"])
    #expect(parts(.fiveTuple) == ["source", "port", "destination", "destination port", "protocol"])
    #expect(parts(.header(Array("x".utf8))) == ["source"])
  }

  @Test func hostsOfOneIPv6NetworkAreOneSourceAndSeveralTuples() {
    let (first, second) = (Self.flow("2001:db8:1:2::3"), Self.flow("2001:db8:1:2::4"))
    #expect(AffinityKey.source.hash(of: first) == AffinityKey.source.hash(of: second))
    #expect(AffinityKey.twoTuple.hash(of: first) != AffinityKey.twoTuple.hash(of: second))
  }

  @Test func hashesSpreadEvenly() {
    var counts = [Int](repeating: 0, count: 16)
    for client in clients(16_000) {
      counts[Int(AffinityKey.hash(ofSource: client) % UInt64(MaglevTable.slotCount) % 16)] += 1
    }
    for count in counts { #expect(abs(count - 1_000) < 150) }
  }
}
