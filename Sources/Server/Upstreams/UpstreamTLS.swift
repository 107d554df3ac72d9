// TLS to the backends of one pool: a context for each worker.
//
// A reload that changes neither the settings nor the files keeps the contexts, and with them the
// sessions that can be resumed and the idle connections.

import Balancing
import Configuration
import Primitives
import Reactor
import Synchronization
import TLS

final class UpstreamTLS: Sendable {
  /// Another number for other settings or files; never 0.
  let id: Int
  /// Whether certificates are verified, or keys pinned.
  let isVerified: Bool
  private let contexts: [UpstreamContext]

  init(id: Int, isVerified: Bool, contexts: [UpstreamContext]) {
    self.id = id
    self.isVerified = isVerified
    self.contexts = contexts
  }

  /// Without `resumes` the handshake is a full one. With `onlyHTTP1` nothing else is offered.
  func makeSession(
    with member: Member, worker: Int, resumes: Bool = true, onlyHTTP1: Bool = false
  ) throws(TLSFailure) -> TLSSession {
    try TLSSession(
      connecting: contexts[worker % contexts.count], to: member.serverName, at: member.address,
      resumes: resumes, onlyHTTP1: onlyHTTP1)
  }
}

/// The files of a pool's TLS.
struct UpstreamFiles: Sendable {
  /// Nil if nothing is verified.
  var trust: TrustStore?
  var identity: Certificate?
}

/// The contexts in use, by pool.
final class UpstreamContexts: Sendable {
  private struct Entry {
    let settings: Configuration.BackendTLS
    let spoken: BackendProtocol
    let fingerprint: [UInt8]
    let tls: UpstreamTLS
  }

  private struct State {
    var entries: [String: Entry] = [:]
    var count = 0
  }

  private let state = Mutex(State())

  /// The former contexts of this pool if nothing has changed, or new ones.
  func contexts(
    of pool: String, _ settings: Configuration.BackendTLS, _ files: UpstreamFiles,
    _ spoken: BackendProtocol = .http1, workerCount: Int
  ) throws(TLSFailure) -> UpstreamTLS {
    try state.withLock { state throws(TLSFailure) in
      let fingerprint =
        (files.trust?.fingerprint ?? []) + [0] + (files.identity?.fingerprint ?? [])
      if let entry = state.entries[pool], entry.settings == settings,
        entry.fingerprint == fingerprint, entry.spoken == spoken
      {
        return entry.tls
      }
      var policy = UpstreamContext.Policy(settings, files)
      policy.protocols = spoken.names
      var contexts: [UpstreamContext] = []
      for _ in 0..<workerCount { contexts.append(try UpstreamContext(policy)) }
      state.count += 1
      let tls = UpstreamTLS(
        id: state.count, isVerified: policy.trust != nil || !policy.pins.isEmpty,
        contexts: contexts)
      state.entries[pool] = Entry(
        settings: settings, spoken: spoken, fingerprint: fingerprint, tls: tls)
      return tls
    }
  }

  /// Forgets the other pools.
  func keep(_ pools: Set<String>) {
    state.withLock { $0.entries = $0.entries.filter { pools.contains($0.key) } }
  }
}

extension UpstreamContext.Policy {
  fileprivate init(_ settings: Configuration.BackendTLS, _ files: UpstreamFiles) {
    self.init()
    trust = files.trust
    identity = files.identity
    pins = settings.pins.map(\.bytes)
    minimumVersion = settings.minimumVersion == .tls13 ? .tls13 : .tls12
  }
}

extension Transport {
  /// Takes over a socket that is being connected to a backend.
  init(connecting socket: Socket, _ session: consuming TLSSession?) {
    switch consume session {
    case .some(let session): self.init(socket, dialling: session)
    case .none: self.init(socket, isWritable: false)
    }
  }
}
