// OpenTelemetry traces: which requests are traced, and where spans are sent.

extension Configuration {
  public struct Tracing: Hashable, Sendable {
    public var endpoint: Collector
    /// The fraction of requests without a trace for which Martlet begins one: 0 to 1.
    public var sample = 1.0
    public var serviceName = "martlet"

    public init(_ endpoint: Collector) { self.endpoint = endpoint }
  }

  /// An OpenTelemetry collector that receives OTLP over HTTP.
  public struct Collector: Hashable, Sendable, CustomStringConvertible {
    public let endpoint: Endpoint
    public let path: String

    public static let standardPath = "/v1/traces"
    static let standardPort: UInt16 = 4318

    init(_ endpoint: Endpoint, path: String = standardPath) {
      self.endpoint = endpoint
      self.path = path
    }

    /// The authority, as in a Host field.
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
    OpenTelemetry traces. Each sampled request is a server span, with a client span for each \
    attempt. Martlet sends spans in batches to a collector (OTLP over HTTP, in JSON). If the \
    client sends a trace (`traceparent`, W3C Trace Context), Martlet continues it, and samples the \
    request if the client does. Backends get a `traceparent` that names the server span. Without \
    this section, Martlet creates no spans and passes `traceparent` on unchanged.
    """
  static let keys: [Key<Self>] = [
    Key(
      "endpoint", \.endpoint, .collector, required: true,
      "URL of the collector, with `http://`. Default path: `/v1/traces`. Default port: 4318."),
    Key(
      "sample", \.sample, .ratio,
      "Fraction of requests to trace if the client sent no trace: 1 for all, 0.01 for one in a "
        + "hundred, 0 for none."),
    Key(
      "service-name", \.serviceName, .text(maxByteCount: 255, example: "edge"),
      "Name of this service in traces (`service.name`)."),
  ]
}

extension Form where Value == Configuration.Collector {
  fileprivate static var collector: Form {
    let description = FormDescription(
      noun: "the URL of a collector",
      allowed: "write \"http://localhost:4318\" or \"http://collector:4318/v1/traces\"",
      kind: "http address", schema: ["type": "string", "pattern": "^http://.+"])
    return Form(description) { json, decoder in
      if json.text?.lowercased().hasPrefix("https://") == true {
        decoder.report(
          "\(json.brief): https to a collector is not supported; use http to a collector on this"
            + " machine that forwards the traces", at: json.origin)
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
  /// A number from 0 to 1.
  fileprivate static var ratio: Form {
    let description = FormDescription(
      noun: "a fraction", allowed: "write a number from 0 to 1, such as 0.01", kind: "0 to 1",
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
