// Faults on purpose: requests of a route that are delayed, or answered with an error.

public import Primitives

extension Configuration {
  /// What happens to a part of a route's requests.
  public struct Fault: Hashable, Sendable {
    /// Nil for no delay.
    public var delay: TimeSpan?
    public var delayPercent = 100
    /// The status of the error; nil for none.
    public var abort: Int?
    public var abortPercent = 100

    public init() {}
  }
}

extension Configuration.Fault: Section {
  static let title = "fault"
  static let about = """
    Faults on purpose: a part of the route's requests is delayed, or gets an error instead of a \
    response. Use it to test clients, timeouts and alarms. The log names the error \
    `fault-injected`. Each worker delays at most 100 requests at the same time, and doesn't delay \
    the others.
    """
  static let keys: [Key<Self>] = [
    Key(
      "delay", optional: \.delay, .duration(.milliseconds(1)...(.seconds(60))),
      "How long a request is delayed before anything else is done about it. Default: no delay."),
    Key(
      "delay-percent", \.delayPercent, .integer(1...100),
      "The percentage of the requests that are delayed."),
    Key(
      "abort", optional: \.abort, .integer(400...599),
      "The status of the error. Default: no error."),
    Key(
      "abort-percent", \.abortPercent, .integer(1...100),
      "The percentage of the requests that get the error. A delayed one can get it too, after "
        + "the delay."),
  ]
}
