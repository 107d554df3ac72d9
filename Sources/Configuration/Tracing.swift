// OpenTelemetry traces: which requests have one, and where they are sent.

extension Configuration {
  public struct Tracing: Hashable, Sendable {
    public var endpoint: Collector
    /// Of the requests that bring no trace along, the part that gets one: 0 to 1.
    public var sample = 1.0
    public var serviceName = "martlet"

    public init(_ endpoint: Collector) { self.endpoint = endpoint }
  }

  /// An OpenTelemetry collector that takes OTLP over HTTP.
  public struct Collector: Hashable, Sendable, CustomStringConvertible {
    public let endpoint: Endpoint
    public let path: String

    public static let standardPath = "/v1/traces"
    static let standardPort: UInt16 = 4318

    init(_ endpoint: Endpoint, path: String = standardPath) {
      self.endpoint = endpoint
      self.path = path
    }

    /// The authority, as Host has it.
    public var host: String { endpoint.host() }

    public var description: String {
      "http://\(endpoint)\(path == Self.standardPath ? "" : path)"
    }
  }
}

extension Configuration.Tracing: Section {
  /// For the decoder; `endpoint` is a required key.
  init() { self.init(Configuration.Collector(.name("", port: 1))) }

  static let title = "tracing"
  static let about = """
    OpenTelemetry traces. Each sampled request is a server span, with a client span in it for each \
    attempt, sent in batches to a collector as OTLP over HTTP, in JSON. A trace that the client \
    brings along (`traceparent`, W3C Trace Context) is continued, and sampled if the client's is; \
    backends get a `traceparent` that names the server span. Without this section nothing of that \
    is done, and `traceparent` is passed on as it is.
    """
  static let keys: [Key<Self>] = [
    Key(
      "endpoint", \.endpoint, .collector, required: true,
      "The collector, by plain http. The path is `/v1/traces` and the port 4318 unless others are "
        + "given."),
    Key(
      "sample", \.sample, .ratio,
      "Of the requests that bring no trace along, the part that begins one: 1 for all, 0.01 for "
        + "one in a hundred, 0 for none."),
    Key(
      "service-name", \.serviceName, .text(maxByteCount: 255, example: "edge"),
      "What traces call this service (`service.name`)."),
  ]
}

extension Form where Value == Configuration.Collector {
  fileprivate static var collector: Form {
    let description = FormDescription(
      noun: "the address of a collector",
      allowed: "write \"http://localhost:4318\" or \"http://collector:4318/v1/traces\"",
      kind: "http address", schema: ["type": "string", "pattern": "^http://.+"])
    return Form(description) { json, decoder in
      if json.text?.lowercased().hasPrefix("https://") == true {
        decoder.report(
          "\(json.brief): https to a collector isn't offered; run one on this machine that passes "
            + "traces on", at: json.origin)
        return nil
      }
      if let collector = json.text.flatMap(parse) { return collector }
      decoder.mismatch(json, description)
      return nil
    } write: {
      .string("\($0)")
    }
  }

  private static func parse(_ text: String) -> Configuration.Collector? {
    guard text.lowercased().hasPrefix("http://") else { return nil }
    let rest = text.dropFirst(7)
    let host = rest.prefix { $0 != "/" }
    let path = rest.dropFirst(host.count)
    guard path.utf8.allSatisfy(isPathByte) else { return nil }
    let standard = "\(host):\(Configuration.Collector.standardPort)"
    guard let endpoint = parseEndpoint(String(host)) ?? parseEndpoint(standard) else { return nil }
    return path.count > 1
      ? Configuration.Collector(endpoint, path: String(path)) : Configuration.Collector(endpoint)
  }
}

extension Form where Value == Double {
  /// A part of a whole.
  fileprivate static var ratio: Form {
    let description = FormDescription(
      noun: "a part", allowed: "write a number from 0 to 1, such as 0.01", kind: "0 to 1",
      schema: ["type": "number", "minimum": 0, "maximum": 1])
    return Form(description) { json, decoder in
      if case .number(let text) = json.value, let ratio = Double(text), (0...1).contains(ratio) {
        return ratio
      }
      decoder.mismatch(json, description)
      return nil
    } write: {
      JSON(.number($0 == $0.rounded() ? "\(Int($0))" : "\($0)"))
    }
  }
}
