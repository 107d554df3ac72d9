// What the admin interface shows beside the counters: one immutable view of what is in force, made
// anew by the control thread whenever that changes.
//
// Counts, health and weights aren't in it: whoever shows them reads the atomics at that moment.

import Balancing
import Configuration
import Metrics
import Primitives
import Reactor
import TLS

final class AdminView: Sendable {
  let process: ProcessFacts
  let configuration: Configuration
  let snapshot: Snapshot
  /// What is known of backends that are given by name; read at that moment, as health is.
  let names: NameTable
  let addresses: [Server.ListeningAddress]
  let certificates: [CertificateFacts]
  /// What the address speaks TLS with, if it does.
  let tls: TLSContext?
  let credentials: AdminCredentials
  let reload: ReloadFacts
  let overload: OverloadStage
  /// The effective limits of this process.
  let limits: EffectiveLimits
  let isDraining: Bool

  init(
    process: ProcessFacts, configuration: Configuration, snapshot: Snapshot, names: NameTable,
    addresses: [Server.ListeningAddress], certificates: [CertificateFacts], tls: TLSContext?,
    credentials: AdminCredentials, reload: ReloadFacts, overload: OverloadStage,
    limits: EffectiveLimits, isDraining: Bool
  ) {
    self.process = process
    self.configuration = configuration
    self.snapshot = snapshot
    self.names = names
    self.addresses = addresses
    self.certificates = certificates
    self.tls = tls
    self.credentials = credentials
    self.reload = reload
    self.overload = overload
    self.limits = limits
    self.isDraining = isDraining
  }

  /// The pool of that name, with what the snapshot made of it.
  func pool(named name: String) -> (settings: PoolSettings, configured: Configuration.Pool)? {
    guard let index = configuration.pools.firstIndex(where: { $0.name == name }) else { return nil }
    return (snapshot.pools[index], configuration.pools[index])
  }
}

/// What clients of the address have to show.
struct AdminCredentials: Sendable {
  var token: String?
  /// Grows whenever other clients are let in than before: by a token, certificates or an address.
  var version = 0
  /// The same for clients of the Unix socket: it increases when that moves or is disabled.
  var localVersion = 0

  /// For clients that connect in this way.
  func version(of access: AdminAccess) -> Int { access.isLocal ? localVersion : version }
}

/// What stays the same for as long as the process lives.
struct ProcessFacts: Sendable {
  let version: String
  let id: Int32
  /// In Unix seconds.
  let startedAt: Double
  let descriptorMax: Int
  let metrics: [WorkerMetrics]
  let clocks: [ThreadClock]
  let traffic: MetricsRegistry
  let reports: [ExchangeReports]
  /// An operator may have changed it, so that it differs from the configuration.
  let log: ProcessLog

  /// What all workers have counted for a subject.
  func reading(_ subject: MetricsSubject) -> TrafficReading {
    TrafficReading(of: traffic.blocks(for: subject))
  }

  func reading(_ backend: BackendIdentity) -> TrafficReading {
    reading(.backend(pool: backend.pool, address: backend.address))
  }
}

struct CertificateFacts: Sendable {
  let listener: String
  let path: String
  let names: [String]
  let isSelfSigned: Bool
  /// In Unix seconds.
  let notBefore: Int64
  let notAfter: Int64
}

/// How reloads went since the start.
struct ReloadFacts: Sendable {
  var acceptedCount = 0
  var refusedCount = 0
  /// The last accepted reload changed neither the configuration nor a file that it names.
  var wasLastSame = false
  /// When the configuration in force was taken up, in Unix seconds.
  var inForceSince: Double
  /// Why the last one was refused; empty when it wasn't.
  var refusal: [String] = []
}
