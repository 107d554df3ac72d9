// A whole client connection against a scripted backend: the real worker, over memory.
//
// The input is everything that one client sends. Properties for any input:
//
// - Each backend connection gets complete, strictly valid requests, each framed in one way
//   (MessageReader is strict, and shares no code with the parser).
// - The client gets complete, valid responses, at least one for each request that a backend got.
// - However the bytes are split, the forwarded requests and the responses are the same.
// - After the client has gone, no exchange, connection or reserved slot is left.

import FuzzSupport

@testable import FuzzWorld

private struct Outcome: Equatable {
  var requests: [ReadMessage] = []
  /// Status and body of each final response; nil if the methods are not known here.
  var answers: [ReadAnswer]?
}

@c(LLVMFuzzerTestOneInput)
public func fuzzConnection(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let outcomes = input.arrivals.map { run(input, $0) }
  for outcome in outcomes {
    require(outcome == outcomes[0], "a cut changes \(outcomes[0]) into \(outcome)")
  }
  return 0
}

private func run(_ input: FuzzInput, _ arrivals: [Int]) -> Outcome {
  var pieces: [[UInt8]] = []
  var done = 0
  for count in arrivals where count > done {
    pieces.append(Array(input.bytes[done..<count]))
    done = count
  }
  let io = ScriptedIO(
    pieces: pieces, answers: AnswerScript(rawValue: input.control & 3) ?? .measured,
    sendMax: input.control & 4 == 0 ? .max : 37)
  var stand = TestStand(io, tolerates: input.control & 8 != 0)
  stand.run()
  var outcome = Outcome(requests: io.backends.flatMap(\.requests))
  if !contains(input.bytes, Array("HEAD".utf8)) {
    outcome.answers = readAnswers(io.client)
    if !io.client.wasReset {
      require(
        outcome.answers.map { $0.count >= outcome.requests.count } ?? true,
        "\(outcome.requests.count) requests, and answers \(outcome)")
    }
  }
  return outcome
}

private func contains(_ bytes: [UInt8], _ word: [UInt8]) -> Bool {
  bytes.indices.contains { bytes[$0...].starts(with: word) }
}

private func readAnswers(_ client: ScriptedPeer) -> [ReadAnswer] {
  var reader = MessageReader(.answers)
  var answers: [ReadAnswer] = []
  reader.append(client.outbound)
  while let message = reader.next(atEnd: true) {
    if message.status >= 200 { answers.append(ReadAnswer(message.status, message.body)) }
  }
  require(
    client.wasReset || (reader.fault == nil && reader.isEmpty),
    "the client got \(quoted(client.outbound)): \(reader.fault ?? "incomplete")")
  return answers
}
