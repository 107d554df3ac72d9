// The same bytes through Martlet's parser and through two independent ones.
//
// If Martlet and another parser accept, they must find the same messages: method, target, fields,
// body, and so the start of the next one. A parser that refuses is safe. So if the two others
// differ, Martlet must refuse. A forwarded request must be the same single request for all parsers.

import Foundation
import Testing

@Suite struct DifferentialTests {
  /// MARTLET_DIFFERENTIAL_CASES and MARTLET_DIFFERENTIAL_SEED change the cases.
  private static let caseCount = setting("MARTLET_DIFFERENTIAL_CASES") ?? 6000
  private static let seed = setting("MARTLET_DIFFERENTIAL_SEED") ?? 1

  private static func setting(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
  }

  /// Follows every case: a parser that finds another boundary reads this differently.
  private static let canary = Array("GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n".utf8)

  private static let cases: [[UInt8]] = {
    var mutator = RequestMutator(seed: UInt64(seed))
    let mutated = (0..<caseCount).map { _ in mutator.next() }
    return (Attack.all.map { latin1($0.bytes) } + mutated).map { $0 + canary }
  }()

  private static let peers: [(name: String, readings: [Reading])] = PeerParser.allCases.map {
    peer in
    do {
      return ("\(peer)", try peer.read(cases))
    } catch {
      Issue.record(error)
      return ("\(peer)", [])
    }
  }

  @Test(arguments: Attack.all) func anAttackMeetsItsVerdict(attack: Attack) {
    let martlet = MartletReading(latin1(attack.bytes)).reading
    switch attack.verdict {
    case .refused(let reason):
      #expect(martlet.messages.isEmpty && martlet.end == .refuses(reason), "\(martlet)")
    case .read(let count):
      #expect(martlet.messages.count == count, "\(martlet)")
      if case .refuses = martlet.end { Issue.record("refused behind it: \(martlet)") }
    }
  }

  @Test(arguments: [false, true])
  func otherParsersThatAcceptFindTheSameMessages(tolerates: Bool) {
    var acceptedCount = 0
    for (index, bytes) in Self.cases.enumerated() {
      let martlet = MartletReading(bytes, tolerates: tolerates).reading
      acceptedCount += martlet.messages.count
      for peer in Self.peers where index < peer.readings.count {
        let reading = peer.readings[index]
        if let problem = disagreement(martlet, reading, onBodiesAlone: tolerates) {
          Issue.record("\(peer.name) \(problem): \(text(bytes))\n\(martlet)\n\(reading)")
        }
      }
    }
    // Check the quality of the cases.
    #expect(acceptedCount > Self.caseCount / 4)
  }

  @Test func martletRefusesWhereOtherParsersDiffer() throws {
    let readings = Self.peers.map(\.readings)
    try #require(readings.allSatisfy { $0.count == Self.cases.count })
    var differences = 0
    for (index, bytes) in Self.cases.enumerated() {
      let (first, second) = (readings[0][index], readings[1][index])
      if first.messages != second.messages { differences += 1 }
      let common = min(first.messages.count, second.messages.count)
      guard let place = (0..<common).first(where: { first.messages[$0] != second.messages[$0] })
      else { continue }
      let martlet = MartletReading(bytes).reading
      #expect(martlet.messages.count <= place, "\(text(bytes)): \(martlet)")
    }
    // The other parsers must differ sometimes, or the cases don't cover what parsers differ about.
    #expect(differences > Self.caseCount / 50)
  }

  @Test(arguments: [false, true])
  func aForwardedRequestIsOneRequestForAllParsers(tolerates: Bool) throws {
    var cases: [[UInt8]] = []
    var originals: [(message: String, namesHost: Bool)] = []
    for bytes in Self.cases {
      let martlet = MartletReading(bytes, tolerates: tolerates)
      for (index, message) in martlet.reading.messages.enumerated() {
        cases.append(martlet.forwarded[index] + Self.canary)
        originals.append((message, martlet.namesHost[index]))
      }
    }
    let canary = MartletReading(Self.canary).reading.messages
    let readings = try PeerParser.allCases.map { try $0.read(cases) }
    for (index, bytes) in cases.enumerated() {
      let strict = MartletReading(bytes).reading
      // A strict parser refuses a Host without a value, which HTTP/1.0 may lead to.
      if originals[index].namesHost {
        #expect(strict.messages.count == 2, "\(text(bytes)): \(strict)")
        #expect(isSame(strict.messages.first, originals[index].message), "\(text(bytes))")
      }
      // llhttp knows only a fixed list of methods.
      for reading in readings.map({ $0[index] })
      where reading.end != .refuses("HPE_INVALID_METHOD") {
        #expect(
          reading.messages.count == 2 && reading.messages.last == canary.first
            && isSame(reading.messages.first, originals[index].message),
          "\(text(bytes)): \(reading)")
        if originals[index].namesHost {
          #expect(reading.messages == strict.messages, "\(text(bytes))")
        }
      }
    }
  }

  /// The difference between Martlet's reading and another; nil when they agree.
  private func disagreement(
    _ martlet: Reading, _ other: Reading, onBodiesAlone: Bool
  ) -> String? {
    for (index, message) in martlet.messages.enumerated() {
      guard index < other.messages.count else {
        // It refused or closes, but it must not wait for more of a complete message.
        return other.end == .waits ? "waits" : nil
      }
      let agrees =
        onBodiesAlone
        ? frame(message) == frame(other.messages[index]) : message == other.messages[index]
      if !agrees { return "sees another message" }
    }
    if martlet.end == .waits && other.messages.count > martlet.messages.count {
      return "sees a message where Martlet waits"
    }
    return nil
  }

  /// Method, target and body, which the repair of a field can't change.
  private func frame(_ message: String) -> [Substring] {
    let parts = message.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 4 ? [parts[0], parts[1], parts[3]] : []
  }

  /// The same method and body; the target is forwarded in another form.
  private func isSame(_ message: String?, _ original: String) -> Bool {
    guard let message else { return false }
    let (new, old) = (frame(message), frame(original))
    return new.count == 3 && old.count == 3 && new[0] == old[0] && new[2] == old[2]
  }

  private func text(_ bytes: [UInt8]) -> String {
    String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) })).debugDescription
  }
}

/// One byte per scalar.
private func latin1(_ text: String) -> [UInt8] {
  text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
}
