// What a run needs to know about a simulated client, whatever it speaks.
//
// Each wire has its own implementation. All of them send planned requests, check the answers to the
// byte, and record one outcome per request in the ledger. They never repeat a failed request.

import Primitives

protocol SimulatedClient: SimulatedActor {
  /// It has no connection and nothing left to send.
  var isDone: Bool { get }

  /// Reports the requests that wait for an answer, or receive one.
  func reportProgress(to body: (RequestProgress) -> Void)
}

/// How far a request and its answer are, for the checks during a run.
struct RequestProgress {
  let id: Int
  /// Bytes of the request that the server has received.
  let takenCount: Int
  /// Whether it has received all of it.
  let isTaken: Bool
  /// Whether the answer has begun.
  let isBegun: Bool
  /// Bytes of the answer that the server has sent, at most.
  let answerCount: Int
  /// Bytes that the server may hold in one direction.
  let heldMax: Int
}

/// Which protocol a client speaks.
enum ClientWire {
  case http1, http2

  /// Of 16 clients, how many speak HTTP/2.
  static let http2Share = 8

  func client(ledger: Ledger, plan: ClientPlan) -> any SimulatedClient {
    switch self {
    case .http1: SimulatedHTTP1Client(ledger: ledger, plan: plan)
    case .http2: SimulatedHTTP2Client(ledger: ledger, plan: plan)
    }
  }
}
