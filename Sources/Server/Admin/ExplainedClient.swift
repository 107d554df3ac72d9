// Who asks, in `martlet explain --client … --header …`: what the strategies with affinity, and
// sticky sessions, select a backend by. Which one that is, the selection itself says.

import Balancing
import HTTP
import Primitives
import Proxy

struct ExplainedClient {
  /// Nil if it wasn't said.
  private(set) var address: IPAddress?
  private(set) var port: UInt16?
  private(set) var fields: [(name: String, value: String)] = []

  /// What is wrong with the query.
  struct Mistake: Error { let message: String }

  /// `client` is an address, perhaps with a port; `headers` has a field in each line.
  init(_ query: [String: String]) throws(Mistake) {
    if let text = query["client"] {
      let bytes = Array(text.utf8)
      // An IPv6 address with a port is in brackets.
      if let address = IPAddress(text) {
        self.address = address
      } else if let authority = Authority(bytes.span),
        let address = IPAddress(
          text.utf8.first == 0x5B
            ? String(text.dropFirst().prefix { $0 != "]" })
            : String(decoding: bytes[authority.host], as: UTF8.self))
      {
        (self.address, port) = (address, authority.port)
      } else {
        throw Mistake(
          message: "'\(text)' is no client; write an address such as 192.0.2.1,"
            + " or with its port 192.0.2.1:40000")
      }
    }
    for line in (query["headers"] ?? "").split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":"), colon != line.startIndex else {
        throw Mistake(message: "'\(line)' is no header; write one such as 'X-Tenant: a'")
      }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      fields.append((String(line[..<colon]), String(value)))
    }
  }

  /// The request that it would send.
  func head(query: String) -> RequestHead {
    var head = RequestHead()
    head.reset()
    for (name, value) in fields {
      head.fields.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    if !query.isEmpty { head.query = head.fields.store(Array(query.utf8).span) }
    return head
  }
}

/// The backend of a client or a key.
struct KeptBackend {
  /// Why it is this one.
  let key: String
  /// Nil if none can be selected.
  let address: String?
}

extension Explanation {
  /// The backend that the next request of the client would get; nil if the strategy has no fixed
  /// one for it, or if what it depends on is not known.
  func backend(
    of client: ExplainedClient, query: String, in settings: PoolSettings
  ) -> KeptBackend? {
    let pool = settings.pool
    let head = client.head(query: query)
    var view = PoolView(pool)
    if let tokens = settings.stickiness?.tokens(in: head.fields),
      let token = view.living(of: tokens, at: now)
    {
      return select(
        Selection(stickyToken: token), "the cookie of stickiness", client, in: &view)
    }
    guard pool.strategy.isSticky else { return nil }
    let hash = pool.strategy == .maglev ? pool.affinityKey.hash(in: head) : 0
    if hash != 0 {
      return select(Selection(affinity: hash), "\(pool.affinityKey.words)", client, in: &view)
    }
    guard let address = client.address else { return nil }
    return select(Selection(), "the source \(address)", client, in: &view)
  }

  /// The same for a connection or a session to `destination`.
  func backend(
    of client: ExplainedClient, to destination: (address: IPAddress, port: UInt16)?,
    number: UInt8, in settings: PoolSettings
  ) -> KeptBackend? {
    let pool = settings.pool
    guard pool.strategy.isSticky, let source = client.address else { return nil }
    var view = PoolView(pool)
    let isBySource =
      pool.strategy == .ipHash || pool.affinityKey == .source || pool.affinityKey.isOfRequest
    if isBySource { return select(Selection(), "the source \(source)", client, in: &view) }
    guard let destination else { return nil }
    if pool.affinityKey == .fiveTuple && client.port == nil { return nil }
    let flow = Flow(
      source: source, sourcePort: client.port ?? 0, destination: destination.address,
      destinationPort: destination.port, protocolNumber: number)
    return select(
      Selection(affinity: pool.affinityKey.hash(of: flow)), pool.affinityKey.words, client,
      in: &view)
  }

  /// Asks the selection itself, and gives the slot back at once.
  private func select(
    _ selection: Selection, _ key: String, _ client: ExplainedClient, in view: inout PoolView
  ) -> KeptBackend {
    var selection = selection
    var generator = RandomGenerator(seed: 1)
    do throws(Unavailability) {
      let pick = try selection.next(
        in: &view, client: client.address, at: now, generator: &generator)
      let address = pick.record.identity.address
      pick.release()
      return KeptBackend(key: key, address: address)
    } catch {
      return KeptBackend(key: key, address: nil)
    }
  }
}

extension AffinityKey {
  fileprivate var words: String {
    func named(_ kind: String, _ name: [UInt8]) -> String {
      "the \(kind) \(String(decoding: name, as: UTF8.self))"
    }
    return switch self {
    case .source: "the source"
    case .twoTuple: "the 2-tuple"
    case .threeTuple: "the 3-tuple"
    case .fiveTuple: "the 5-tuple"
    case .header(let name): named("header", name)
    case .cookie(let name): named("cookie", name)
    case .query(let name): named("query parameter", name)
    }
  }
}
