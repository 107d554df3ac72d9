// Backends that are given by name: beginning to look them up, and taking up what was found.

import Balancing
import Configuration
import Logging
import Metrics
import Primitives
import Reactor

extension Server {
  /// How long a start, a reload or a command waits for the first answer to a name. A name server
  /// that is there has answered by then; one that isn't keeps nobody waiting: what has an address
  /// serves, and the rest follows when it is found.
  private static var patience: TimeSpan { .milliseconds(500) }

  /// Has the names in `configuration` looked up from now on. Those that were looked up before keep
  /// their addresses meanwhile.
  func resolveNames(_ configuration: Configuration) {
    names.watch(configuration, at: SystemClock.monotonic())
    if names.isEmpty { return }
    do throws(SystemError) {
      if lookups == nil {
        lookups = try NameLookups(names) { [names, inbox, logger] name, news in
          if news.hasChanged { inbox.post(.resolved(name)) }
          names[name].log(news, of: name, to: logger)
        }
      }
      lookups?.wake()
      lookups?.settle(atMost: Self.patience)
    } catch {
      logger.error("can't look up the names of backends", metadata: ["error": "\(error)"])
    }
    for name in names.unanswered {
      logger.warning(
        "the name of a backend is not resolved yet; the pool works without this backend until then",
        metadata: ["name": .string(name)])
    }
  }

  /// Takes up the addresses that were found since.
  func republish() {
    let changed = resolvedNames
    if changed.isEmpty { return }
    resolvedNames = []
    var isNews = false
    for (index, configured) in configuration.pools.enumerated()
    where !configured.names.isDisjoint(with: changed) {
      let pool = snapshot.pools[index].pool
      let members = builder.members(of: configured, names)
      // A start or a reload may have taken them up in the meantime.
      if members.map(\.address) == pool.membership.members.map(\.address) { continue }
      pool.publish(members)
      isNews = true
    }
    if !isNews { return }
    snapshot.forgetUnusedChecks()
    membershipChanged()
    forgetFormerBackends()
    let list = changed.sorted().joined(separator: ", ")
    logger.notice("names of backends have new addresses", metadata: ["names": .string(list)])
  }

  /// Frees the data of backends that left long ago.
  func forgetFormerBackends() {
    let gone = builder.registry.settle(on: snapshot.pools.map(\.pool))
    if gone.isEmpty { return }
    builder.traffic.keep(
      backends: Set(
        builder.registry.identities.map { .backend(pool: $0.pool, address: $0.address) }))
    for worker in workers { worker.inbox.post(.forget(gone)) }
  }

  /// One worker checks all backends, and passes turns to whoever may find a place now.
  func membershipChanged() {
    workers.first?.inbox.post(.membershipChanged)
    noteAvailability()
  }

  /// Logs the pools that have no available backend, or have one again.
  func noteAvailability() {
    let events = EventLog(logger: logger)
    for settings in snapshot.pools { events.availability(of: settings.pool) }
  }
}

extension KnownName {
  /// Each failure is told once, until it is over.
  fileprivate func log(_ news: NameTable.News, of name: String, to logger: Logger) {
    if news.hasFailed {
      let consequence: Logger.Message =
        addresses.isEmpty
        ? "can't resolve the name of a backend; the pool works without this backend"
        : "can't resolve the name of a backend; Martlet keeps using its last addresses"
      logger.error(consequence, metadata: ["name": .string(name), "error": .string(reason)])
    } else if news.hasRecovered {
      logger.notice(
        "the lookup of a backend's name succeeds again", metadata: ["name": .string(name)])
    }
  }
}
