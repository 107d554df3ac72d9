// Command line flags, which override the file before it is decoded.
//
// A flag becomes JSON in the place of the key, and the JSON stores the name of the flag. So flags
// and file are read and checked by the same code, and an error names the flag.

/// The flags as text, unchecked.
public struct Overrides: Hashable, Sendable {
  /// `--listen ADDRESS:PORT`: the address of the only listener.
  public var listen: String?
  /// `--plain-http`: all listeners without TLS.
  public var plainHTTP = false
  /// `--certificate FILE` and `--key FILE`: for all TLS listeners.
  public var certificate: String?
  public var key: String?
  /// `--backend ADDRESS[,weight=N]`: the backends of the only pool.
  public var backends: [String] = []
  /// `--strategy NAME`, `--request-timeout DURATION`, `--health-interval DURATION`: for all pools.
  public var strategy: String?
  public var requestTimeout: String?
  public var healthInterval: String?
  /// `--workers N`.
  public var workers: String?
  /// `--demo`: a demo backend behind each loopback address of the pools; without any pool, three.
  public var demo = false

  public init() {}

  func apply(to document: inout JSON, _ decoder: inout Decoder) {
    guard case .object = document.value else { return }
    applyToListeners(&document, &decoder)
    applyToPools(&document, &decoder)
    if let workers {
      document["workers"] = JSON(Int(workers) == nil ? .string(workers) : .number(workers))
        .from(.flag("--workers"))
    }
  }

  private func applyToListeners(_ document: inout JSON, _ decoder: inout Decoder) {
    if (certificate == nil) != (key == nil) {
      let given = certificate == nil ? "--key" : "--certificate"
      let missing = certificate == nil ? "--certificate" : "--key"
      decoder.report("\(missing) is missing; give both or none", at: .flag(given))
    }
    if plainHTTP && certificate != nil {
      decoder.report("not allowed together with --plain-http", at: .flag("--certificate"))
    }
    // Needed in every case: relative paths in it start at the directory of the file.
    if document["listeners"] == nil {
      document["listeners"] = .list(Configuration().listeners.map(\.json))
    }
    guard var list = document["listeners"], var items = list.items else { return }
    if let listen {
      if items.count > 1 {
        decoder.report(
          "not allowed: the file has \(items.count) listeners; edit the file instead",
          at: .flag("--listen"), key: "listeners")
      } else {
        for index in items.indices {
          items[index]["listen"] = JSON(.string(listen), origin: .flag("--listen"))
        }
      }
    }
    for index in items.indices {
      if plainHTTP {
        for name in ["tls", "hsts", "redirect-to-https"] { items[index][name] = nil }
      } else if let certificate, let key, var tls = items[index]["tls"] {
        let pair = JSON.object([
          ("chain", JSON(.string(certificate)).from(.flag("--certificate"))),
          ("key", JSON(.string(key)).from(.flag("--key"))),
        ])
        tls["certificates"] = JSON(.list([pair]), origin: .flag("--certificate"))
        items[index]["tls"] = tls
      }
    }
    if certificate != nil && !items.contains(where: { $0["tls"] != nil }) && !plainHTTP {
      decoder.report("no listener of the file has tls", at: .flag("--certificate"))
    }
    list.value = .list(items)
    document["listeners"] = list
  }

  private func applyToPools(_ document: inout JSON, _ decoder: inout Decoder) {
    let hasPools = !(document["pools"]?.items ?? []).isEmpty
    let isRouted = !(document["routes"]?.items ?? []).isEmpty
    if !backends.isEmpty {
      if !hasPools { document["pools"] = .list([.object([])]) }
      setBackends(in: &document, &decoder)
    } else if demo && !hasPools && !isRouted {
      let addresses = Configuration.demoPorts.map { JSON.string("127.0.0.1:\($0)") }
      document["pools"] = .list([.object([("backends", .list(addresses))])])
    }
    guard var list = document["pools"], var items = list.items else { return }
    for index in items.indices {
      if let strategy {
        items[index]["strategy"] = JSON(.string(strategy), origin: .flag("--strategy"))
      }
      set("request", requestTimeout, "--request-timeout", in: "timeouts", of: &items[index])
      set("interval", healthInterval, "--health-interval", in: "health", of: &items[index])
    }
    list.value = .list(items)
    document["pools"] = list
  }

  private func setBackends(in document: inout JSON, _ decoder: inout Decoder) {
    guard var list = document["pools"], var items = list.items, !items.isEmpty else { return }
    if items.count > 1 {
      decoder.report(
        "not allowed: the file has \(items.count) pools; edit the file instead",
        at: .flag("--backend"), key: "pools")
      return
    }
    items[0]["backends"] = JSON(.list(backends.map(backend)), origin: .flag("--backend"))
    list.value = .list(items)
    document["pools"] = list
  }

  /// `ADDRESS` or `ADDRESS,weight=N`; other keys of a backend work as well.
  private func backend(_ text: String) -> JSON {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    let address = JSON.string(parts.first ?? "")
    if parts.count == 1 { return address.from(.flag("--backend")) }
    let others = parts.dropFirst().map { part -> (String, JSON) in
      guard let equals = part.firstIndex(of: "=") else { return (part, JSON(.bool(true))) }
      let value = String(part[part.index(after: equals)...])
      return (String(part[..<equals]), JSON(Int(value) == nil ? .string(value) : .number(value)))
    }
    return JSON.object([("address", address)] + others).from(.flag("--backend"))
  }

  /// Sets a key of a section of a pool, which may be absent or `"off"`.
  private func set(
    _ name: String, _ text: String?, _ flag: String, in section: String, of pool: inout JSON
  ) {
    guard let text else { return }
    var object = pool[section] ?? JSON(.object([]), origin: .flag(flag))
    if object.text == "off" { object = JSON(.object([]), origin: .flag(flag)) }
    object[name] = JSON(.string(text), origin: .flag(flag))
    pool[section] = object
  }
}
