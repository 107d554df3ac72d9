// What clients may take, for the whole process unless it says otherwise.

public import Primitives

extension Configuration {
  /// Sizes in bytes, counts, and times on the side of the clients.
  public struct Limits: Hashable, Sendable {
    /// Request line and fields together; 431 beyond.
    public var headSize = 32 * 1024
    /// 431 beyond.
    public var fieldCount = 100
    /// Status line and fields of a response together; 502 beyond.
    public var responseHeadSize = 64 * 1024
    /// 502 beyond.
    public var responseFieldCount = 1000
    /// 414 beyond.
    public var targetSize = 8 * 1024
    /// 413 beyond; nil for no limit.
    public var bodySize: Int? = 1 << 30
    /// Of the whole process; nil means four fifths of what there is.
    public var memory: Int?
    /// Bytes of chunk extensions of a request, beyond those of its payload; 400 beyond.
    public var chunkExtensions = 16 * 1024
    /// Trailers of a request, together; 400 beyond.
    public var trailerSize = 8 * 1024
    /// Open at a time, over all listeners and workers.
    public var connections = 20_000
    /// The same for one client address; nil for no limit.
    public var connectionsPerAddress: Int? = 2000
    /// The response to the last one says that the connection closes.
    public var requestsPerConnection = 10_000
    /// TLS handshakes in progress at a time; beyond it the oldest is dropped.
    public var handshakes = 5000
    public var handshake = TimeSpan.seconds(10)
    /// For a whole head, from its first byte; 408 beyond.
    public var head = TimeSpan.seconds(10)
    /// Between two pieces of a request's body; 408 beyond. Also for how long a client may leave a
    /// response unread.
    public var bodyIdle = TimeSpan.seconds(30)
    /// Bytes a second of a request's body that a client must send, and of a response that it must
    /// take; nil for no minimum.
    public var minimumRate: Int? = 240
    /// For so long a client may stay below it.
    public var rateGrace = TimeSpan.seconds(10)
    /// Between two requests.
    public var keepAlive = TimeSpan.seconds(60)
    /// For a client that still sends after its last answer.
    public var linger = TimeSpan.seconds(30)
    /// Between the signal to stop and the first refused connection.
    public var lameDuck = TimeSpan.zero
    /// For what is under way when Martlet stops.
    public var drain = TimeSpan.seconds(30)
    /// Between the start of a new process at an upgrade and its word that it serves.
    public var upgrade = TimeSpan.seconds(60)
    /// A body up to this size is collected before a backend is chosen.
    public var collectSize = 16 * 1024
    /// For no longer than this.
    public var collectWait = TimeSpan.milliseconds(250)

    public init() {}
  }
}

extension Configuration.Limits: Section {
  static let title = "limits"
  static let about = """
    What clients may take, each with the status of the answer beyond it, and how large a response \
    may be.
    """
  static let keys: [Key<Self>] = [
    Key(
      "head-size", \.headSize, .size(1024 ... 64 << 10),
      "The head of a request, line and fields together, where each field counts 32 bytes more "
        + "than it has, as in HTTP/2; 431 beyond. Room for large cookies."),
    Key(
      "field-count", \.fieldCount, .integer(16...1000), "Fields of a request; 431 beyond."),
    Key(
      "response-head-size", \.responseHeadSize, .size(1024 ... 64 << 10),
      "The head of a backend's response, counted in the same way; 502 beyond, with the reason in "
        + "the access log. The backend isn't blamed for it, because what it sets may depend on "
        + "what a client sent. The default is the largest size, which fits into one block of "
        + "memory; HAProxy takes 16KiB, nginx 4 or 8. Trailers of a response may have 8KiB and 32 "
        + "fields."),
    Key(
      "response-field-count", \.responseFieldCount, .integer(16...10_000),
      "Fields of a backend's response; 502 beyond, as above."),
    Key(
      "target-size", \.targetSize, .size(256 ... 64 << 10),
      "The target in the request line, path and query; 414 beyond."),
    Key(
      "body-size", \.bodySize, .off(or: .size(0 ... 1024 << 40)),
      "The body of a request; 413 beyond. Bodies stream through small buffers, so this isn't "
        + "about memory: a gigabyte lets most uploads pass and still ends a runaway one. Set "
        + "\"20GiB\" for larger files."),
    Key(
      "chunk-extensions", \.chunkExtensions, .size(0 ... 1 << 20),
      "Extensions of the chunks of a request's body, as far as they are more than the payload "
        + "before them; 400 beyond. Nobody uses them, and they are never passed on."),
    Key(
      "trailer-size", \.trailerSize, .size(64 ... 8 << 10),
      "Trailers of a request, together and counted like its head, at most 32 of them; 400 beyond. "
        + "Room for a signature and some checksums."),
    Key(
      "connections", \.connections, .integer(1...10_000_000),
      "Clients' connections at a time, over all listeners and workers; more are closed at once. "
        + "The process needs two file descriptors for each, and accepts fewer if it may not have "
        + "so many."),
    Key(
      "connections-per-address", \.connectionsPerAddress, .off(or: .integer(1...10_000_000)),
      "The same for one client: an IPv4 address, or the /64 of an IPv6 address. Peers listed in "
        + "`trusted-proxies` are exempt, since they stand for many. A tenth of `connections`, so "
        + "that one address can't take them all, and hundreds of people behind one address don't "
        + "notice."),
    Key(
      "memory", optional: \.memory, .size(1 << 20 ... 1 << 50),
      "Memory of the whole process. At 85% of it, or of `connections`, client connections end "
        + "after their next answer and idle ones soon; at 95% of it new requests get 503 with "
        + "Retry-After. What is in progress goes on. By default four fifths of what the machine "
        + "or the container has, since beyond that the kernel would end the process."),
    Key(
      "requests-per-connection", \.requestsPerConnection, .integer(1...100_000_000),
      "Then a connection is closed, in good order, so that clients spread anew over workers."),
    Key(
      "handshakes", \.handshakes, .integer(1...10_000_000),
      "TLS handshakes in progress at a time, shared out evenly over the workers. Beyond it the "
        + "oldest is dropped, which in a flood is one that was never meant to end. A quarter of "
        + "`connections`: at a round trip of 200ms enough for 12,000 new clients a second."),
    Key(
      "handshake", \.handshake, .duration(.milliseconds(100) ... .seconds(300)),
      "From the connection to the end of the TLS handshake."),
    Key(
      "head", \.head, .duration(.milliseconds(100) ... .seconds(300)),
      "From the first byte of a request to the end of its head; 408 beyond. It counts the whole "
        + "time, so that sending a byte now and then doesn't help."),
    Key(
      "body-idle", \.bodyIdle, .duration(.milliseconds(100) ... .seconds(86_400)),
      "The longest pause of a client that sends a body (408 beyond) or takes a response."),
    Key(
      "minimum-rate", \.minimumRate, .off(or: .size(1 ... 1 << 30)),
      "Bytes a second that a client must send of a request's body (408 beyond), and take of a "
        + "response: a byte now and then holds no connection. Counted only while it is the client "
        + "that is waited for; upgraded connections are exempt. 240B is far below the slowest "
        + "mobile network, and turns 1000 connections into traffic worth noticing. \"off\" for "
        + "uploads that pause for long, such as live logs."),
    Key(
      "rate-grace", \.rateGrace, .duration(.milliseconds(100) ... .seconds(3600)),
      "How long a client may stay below the minimum rate: a lift, a tunnel, a change of cell. It "
        + "should be less than `body-idle`."),
    Key(
      "keep-alive", \.keepAlive, .duration(.zero ... .seconds(86_400)),
      "How long a connection waits for its next request; then it is closed."),
    Key(
      "linger", \.linger, .duration(.zero ... .seconds(3600)),
      "An answer may end the connection while the client still sends, such as a 413, or a 401 "
        + "from the backend. What comes then is dropped for so long, since many clients write all "
        + "they have before they read, and a closed connection would hide the answer from them. A "
        + "client that pauses for 5s, or stays below `minimum-rate`, is cut off sooner. Enough "
        + "for 375MB at 100Mbit/s, and what nginx allows."),
    Key(
      "lame-duck", \.lameDuck, .duration(.zero ... .seconds(3600)),
      "After the signal to stop, so long everything goes on as before, except that routes with a "
        + "`draining-status` answer with it, for a balancer in front to notice."),
    Key(
      "drain", \.drain, .duration(.zero ... .seconds(86_400)),
      "After that, so long requests under way may take until they are cut off."),
    Key(
      "upgrade", \.upgrade, .duration(.seconds(1) ... .seconds(3600)),
      "At an upgrade the new process must serve after this time; else it is ended, and the old "
        + "one goes on."),
    Key(
      "collect-size", \.collectSize, .size(0 ... 64 << 10),
      "A request's body that isn't larger is collected before a backend is chosen, so that "
        + "slow senders don't occupy backends. \"0B\" turns it off."),
    Key(
      "collect-wait", \.collectWait, .duration(.zero ... .seconds(60)),
      "Collecting lasts no longer than this; then the body is streamed after all."),
  ]
}
