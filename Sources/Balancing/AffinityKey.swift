// What a strategy with affinity hashes: which part of a request or a connection is the key, and the
// hash of the parts that a connection has. Proxy reads the key of a request.
//
// A hash of 0 means that there is no key: then the source address is the key.

public import Primitives

/// The part of a request or a connection that selects its member.
public enum AffinityKey: Equatable, Sendable {
  /// The address of the client. Of an IPv6 address it is the /64, since a host chooses and changes
  /// the lower half itself.
  case source
  /// Source and destination address.
  case twoTuple
  /// And the protocol.
  case threeTuple
  /// And both ports: each connection for itself.
  case fiveTuple
  /// The first field with this name.
  case header([UInt8])
  /// The first cookie with this name.
  case cookie([UInt8])
  /// The first query parameter with this name.
  case query([UInt8])

  /// Whether it is a part of a request, which has to be read.
  public var isOfRequest: Bool {
    switch self {
    case .source, .twoTuple, .threeTuple, .fiveTuple: false
    case .header, .cookie, .query: true
    }
  }

  /// The hash of this key of a connection or a session: what `Selection.affinity` is for layer 4.
  /// The whole addresses count in a tuple. A request's key is not known here, so it is the source.
  public func hash(of flow: Flow) -> UInt64 {
    var hash = StableHash(.key)
    switch self {
    case .source, .header, .cookie, .query: return Self.hash(ofSource: flow.source)
    case .twoTuple: hash.addEnds(of: flow)
    case .threeTuple:
      hash.addEnds(of: flow)
      hash.add(UInt64(flow.protocolNumber))
    case .fiveTuple:
      hash.addEnds(of: flow)
      hash.add(UInt64(flow.protocolNumber))
      hash.add(UInt64(flow.sourcePort) << 16 | UInt64(flow.destinationPort))
    }
    return hash.value
  }

  public static func hash(ofSource source: IPAddress) -> UInt64 {
    var hash = StableHash(.key)
    hash.add(source.high)
    hash.add(source.isV4 ? source.low : 0)
    return hash.value
  }

  /// The hash of text in a request, as it was sent; 0 if it is empty.
  public static func hash(of text: Span<UInt8>) -> UInt64 {
    if text.isEmpty { return 0 }
    var hash = StableHash(.key)
    hash.add(text)
    return hash.value
  }
}

/// The two ends of a connection or of a session, and their protocol.
public struct Flow: Equatable, Sendable {
  public static let tcp: UInt8 = 6
  public static let udp: UInt8 = 17

  public var source: IPAddress
  public var sourcePort: UInt16
  public var destination: IPAddress
  public var destinationPort: UInt16
  /// As in the IP header.
  public var protocolNumber: UInt8

  public init(
    source: IPAddress, sourcePort: UInt16, destination: IPAddress, destinationPort: UInt16,
    protocolNumber: UInt8
  ) {
    self.source = source
    self.sourcePort = sourcePort
    self.destination = destination
    self.destinationPort = destinationPort
    self.protocolNumber = protocolNumber
  }
}

extension StableHash {
  fileprivate mutating func addEnds(of flow: Flow) {
    add(flow.source.high)
    add(flow.source.low)
    add(flow.destination.high)
    add(flow.destination.low)
  }
}
