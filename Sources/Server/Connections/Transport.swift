// One socket, its TLS session if there is one, and the bytes that wait in both directions.
//
// Its users see only plaintext: they take from `inbound` and call `write`. It uses only the I/O
// interface. Buffers are taken from the worker's pool while there is something in them, and given
// back when they are empty, so an idle connection holds none. Nothing here knows HTTP.

import Primitives
import Reactor
import TLS

/// A byte stream to one peer, encrypted or not.
struct Transport: ~Copyable {
  let socket: Socket
  private(set) var session: TLSSession?
  private var security: Security

  /// What is spoken on the socket.
  private enum Security: UInt8 {
    case plain
    /// TLS with a client, during its handshake and after it.
    case accepting, accepted
    /// TLS with a backend: before our first message, during the handshake and after it.
    case unopened, opening, opened
  }

  /// Plaintext that arrived and was not consumed yet.
  var inbound = ByteBuffer()
  /// Under TLS, what arrived and was not decrypted yet.
  private var ciphertext = ByteBuffer()
  /// Under TLS, plaintext that waits for more of the same record: a head and a small body that
  /// follows it in the same turn are one record and not two.
  private var staged = ByteBuffer()
  /// Bytes for the wire that the socket has not taken yet.
  private var outbound = ByteBuffer()

  /// There may be something to receive; cleared by a short or empty receive (edge-triggered).
  private(set) var isReadable = false
  private(set) var isWritable: Bool
  /// The peer finished sending, perhaps behind bytes that are still to be read.
  private(set) var peerFinished = false
  /// The peer ended the TLS session with close_notify.
  private(set) var peerClosedSession = false
  /// The kernel has reported an error of the socket.
  var mayBeReset = false
  /// Whether the session failed with an alert for the peer, sent or not.
  private(set) var hasAlert = false
  /// Whether the last receive stopped to let other connections run, with more to receive.
  private var gaveWay = false
  /// The last receive returned bytes but stopped early: the next one lets others run first.
  private var owesTurn = false
  private var controlRecords = ControlRecordRate()
  /// What broke the connection for receiving, and so for sending too.
  private(set) var failure: TransportFailure?
  /// What broke it for sending, or why nothing more is sent. What the peer said before may still be
  /// received: an early answer often comes with a closed door.
  private(set) var sendFailure: TransportFailure?

  private(set) var receivedByteCount: UInt64 = 0
  /// As far as the metrics know of both.
  private var counted: (received: UInt64, sent: UInt64) = (0, 0)
  /// Bytes that the socket took, as they went over the wire.
  private(set) var sentByteCount: UInt64 = 0

  /// Takes over a plain socket that is connected, or with `isWritable` false being connected.
  init(_ socket: Socket, isWritable: Bool = true) {
    self.socket = socket
    session = nil
    security = .plain
    self.isWritable = isWritable
  }

  /// Takes over a connected socket on which a client begins a TLS session.
  init(_ socket: Socket, accepting tls: consuming TLSSession) {
    self.socket = socket
    session = consume tls
    security = .accepting
    isWritable = true
  }

  /// Takes over a socket that is being connected to a backend; `open` begins the TLS session.
  init(_ socket: Socket, dialling tls: consuming TLSSession) {
    self.socket = socket
    session = consume tls
    security = .unopened
    isWritable = false
  }

  var isEncrypted: Bool { @inline(__always) get { security != .plain } }
  /// False until the TLS handshake is done; always true without TLS.
  var isEstablished: Bool {
    @inline(__always) get {
      switch security {
      case .plain, .accepted, .opened: true
      case .accepting, .unopened, .opening: false
      }
    }
  }
  /// Whether a handshake with a backend is in progress.
  var isOpening: Bool { @inline(__always) get { security == .opening } }

  /// The most bytes that are joined with what waits before them instead of being sent at once.
  private static let joinedMax = 16 * 1024

  /// Plaintext that the session still holds.
  private var pendingByteCount: Int {
    @inline(__always) get {
      switch session {
      case .some(let session): session.pendingByteCount
      case .none: 0
      }
    }
  }

  mutating func note(_ readiness: Readiness) {
    if readiness.contains(.readable) { isReadable = true }
    if readiness.contains(.writable) { isWritable = true }
    if readiness.contains(.peerFinished) {
      peerFinished = true
      isReadable = true
    }
    if readiness.contains(.failed) {
      (isReadable, isWritable, mayBeReset) = (true, true, true)
    }
  }

  /// Whether something was received and not taken yet, or may be in the socket.
  var mayHoldMore: Bool { !inbound.isEmpty || !ciphertext.isEmpty || isReadable }
  /// Whether the socket has taken everything that was written.
  var isFlushed: Bool { outbound.isEmpty && staged.isEmpty }
  /// Bytes wait and the socket is full: only the peer can end that.
  var isBlocked: Bool { !outbound.isEmpty && !isWritable }
  var isBroken: Bool { failure != nil || sendFailure != nil }
  /// Bytes that were written and that the socket has not taken.
  var unsentByteCount: Int { @inline(__always) get { staged.count + outbound.count } }
  /// Whether the connection is idle, so that another message can follow.
  var isReusable: Bool {
    @inline(__always) get {
      !isBroken && !peerFinished && inbound.isEmpty && isFlushed
        && (!isEncrypted || !peerClosedSession && ciphertext.isEmpty && pendingByteCount == 0)
    }
  }
  /// Whether the peer itself has ended the stream: anybody can end a TCP connection, and only
  /// close_notify can't be forged (RFC 9112 9.8).
  var isEndAuthentic: Bool { !isEncrypted || peerClosedSession }
  /// Bytes in all buffers.
  var heldByteCount: Int { inbound.count + ciphertext.count + staged.count + outbound.count }

  /// What went over the wire since this was asked last.
  mutating func takeUncounted() -> (received: UInt64, sent: UInt64) {
    let uncounted = (receivedByteCount - counted.received, sentByteCount - counted.sent)
    counted = (receivedByteCount, sentByteCount)
    return uncounted
  }

  /// How much of a body may be written now, so that one block holds what waits. Inlined, since a
  /// call would copy the transport to lend it.
  var room: Int {
    @inline(__always) get {
      if failure != nil || sendFailure != nil { return 0 }
      let free = max(0, BufferPool.largeByteCount - outbound.count)
      if !isEncrypted { return free }
      // Each record of up to 16 KiB grows by a header, a tag and padding; 128 is above all of them.
      return max(0, free - (free / 16_384 + 3) * 128 - staged.count)
    }
  }

  /// The client begins a TLS session behind what was consumed.
  mutating func accept(_ tls: consuming TLSSession) {
    session = consume tls
    security = .accepting
    swap(&inbound, &ciphertext)
  }

  /// Writes what stands before the TLS session with a backend. It is sent with what follows.
  mutating func writePreamble(_ source: borrowing ByteBuffer, _ buffers: inout BufferPool) {
    Self.append(source.bytes, to: &outbound, &buffers)
  }

  // MARK: Receiving

  enum Arrival: Equatable {
    /// `inbound` has grown.
    case bytes
    case nothing
    /// The peer ended the stream; under TLS with or without close_notify.
    case finished
    case failed(TransportFailure)
  }

  /// Receives once and decrypts, as far as `inbound` has room.
  mutating func receive<IO: InputOutput & ~Copyable>(
    _ io: inout IO, _ buffers: inout BufferPool
  ) -> Arrival {
    if let failure { return .failed(failure) }
    return isEncrypted ? receiveTLS(&io, &buffers) : receivePlain(&io, &buffers)
  }

  private mutating func receivePlain<IO: InputOutput & ~Copyable>(
    _ io: inout IO, _ buffers: inout BufferPool
  ) -> Arrival {
    if !isReadable { return .nothing }
    guard Self.makeRoom(in: &inbound, &buffers) else { return .nothing }
    let result = Self.receive(from: socket, into: &inbound, &io)
    let end = noteReceived(result)
    if end != nil { buffers.settle(&inbound) }
    return end ?? .bytes
  }

  private mutating func receiveTLS<IO: InputOutput & ~Copyable>(
    _ io: inout IO, _ buffers: inout BufferPool
  ) -> Arrival {
    if peerClosedSession && security == .opened { return .finished }
    if owesTurn {
      owesTurn = false
      return giveWay()
    }
    while true {
      if !ciphertext.isEmpty || pendingByteCount > 0 {
        guard Self.makeRoom(in: &inbound, &buffers) else { return .nothing }
        // A session may answer on its own: handshake flights, tickets, alerts, key updates.
        buffers.enlarge(&outbound)
        let arrival = decrypt(at: io.now)
        buffers.settle(&ciphertext)
        buffers.settle(&outbound)
        if let arrival {
          buffers.settle(&inbound)
          return arrival
        }
      }
      if !isReadable {
        buffers.settle(&inbound)
        return .nothing
      }
      guard Self.makeRoom(in: &ciphertext, &buffers) else { return .nothing }
      let result = Self.receive(from: socket, into: &ciphertext, &io)
      if let end = noteReceived(result) {
        buffers.settle(&ciphertext)
        return end
      }
    }
  }

  /// Feeds the session with what is there; nil when it needs more.
  private mutating func decrypt(at now: Instant) -> Arrival? {
    let waiting = outbound.count
    do throws(TLSFailure) {
      if !isEstablished {
        switch try Self.handshake(&session, &ciphertext, &outbound) {
        case .complete: security = security == .accepting ? .accepted : .opened
        case .wantsTurn: return giveWay()
        case .wantsInput, .wantsOutput: return nil
        }
      }
      let before = inbound.count
      let step = try Self.read(&session, &ciphertext, &inbound, &outbound)
      let count = session?.takeControlRecordCount() ?? 0
      if count > 0 && controlRecords.isTooHigh(with: count, at: now) {
        Self.failSession(&session, &outbound)
        throw .recordFlood
      }
      if step == .closed { peerClosedSession = true }
      if inbound.count > before {
        owesTurn = step == .wantsTurn
        return .bytes
      }
      switch step {
      case .closed: return .finished
      case .wantsTurn: return giveWay()
      case .wantsInput, .plaintextFull: return nil
      }
    } catch {
      hasAlert = outbound.count > waiting
      // What waits to be encrypted can't be any more.
      staged.removeAll()
      ciphertext.removeAll()
      return fail(.tls(error))
    }
  }

  /// The socket is connected to a backend: writes the first message of the TLS handshake. `receive`
  /// continues it, and says why it failed, even if it did here.
  mutating func open(_ buffers: inout BufferPool) {
    security = .opening
    buffers.enlarge(&outbound)
    outbound.reserve(TLSSession.handshakeOutputByteCount)
    do throws(TLSFailure) {
      _ = try Self.handshake(&session, &ciphertext, &outbound)
    } catch {
      failure = .tls(error)
    }
  }

  private mutating func giveWay() -> Arrival {
    gaveWay = true
    return .nothing
  }

  /// Whether the last receive found nothing yet, and more is at hand: then the connection is to be
  /// driven again, behind the others. Says so once.
  mutating func takeGaveWay() -> Bool {
    defer { gaveWay = false }
    return gaveWay
  }

  private mutating func noteReceived(_ result: (ReceiveResult, offered: Int)) -> Arrival? {
    switch result.0 {
    case .received(let count):
      receivedByteCount += UInt64(count)
      // A short count means drained, unless the peer has finished: then the end is still to come.
      if count < result.offered && !peerFinished { isReadable = false }
      return nil
    case .wouldBlock:
      isReadable = false
      return .nothing
    case .finished:
      isReadable = false
      peerFinished = true
      return .finished
    case .failed(let error):
      return fail(.system(error))
    }
  }

  private mutating func fail(_ reason: TransportFailure) -> Arrival {
    failure = reason
    return .failed(reason)
  }

  // MARK: Sending

  /// Takes the bytes of `source`. Small ones wait for `flush`, large ones are sent at once behind
  /// what waits. `room` is what a caller who moves bodies keeps to; a head is written whole, since
  /// its size has a limit of its own, and the buffer grows for it where it must.
  mutating func write<IO: InputOutput & ~Copyable>(
    _ source: borrowing ByteBuffer, _ io: inout IO, _ buffers: inout BufferPool
  ) {
    write(source.bytes, &io, &buffers)
  }

  /// The same for a part of `source`.
  mutating func write<IO: InputOutput & ~Copyable>(
    _ source: borrowing ByteBuffer, _ range: Range<Int>, _ io: inout IO,
    _ buffers: inout BufferPool
  ) {
    write(source.bytes.extracting(range), &io, &buffers)
  }

  mutating func write<IO: InputOutput & ~Copyable>(
    _ bytes: Span<UInt8>, _ io: inout IO, _ buffers: inout BufferPool
  ) {
    if failure != nil || sendFailure != nil || bytes.isEmpty { return }
    if isEncrypted {
      writeTLS(bytes, &buffers)
      // Kept to the end of the turn, the block would be out of the cache by then.
      if outbound.count > Self.joinedMax { sendWaiting(&io, &buffers) }
      return
    }
    if outbound.count + bytes.count <= Self.joinedMax || !isWritable {
      return Self.append(bytes, to: &outbound, &buffers)
    }
    let taken = sendOnce(followedBy: bytes, &io)
    if taken < bytes.count { Self.append(bytes.extracting(taken...), to: &outbound, &buffers) }
    buffers.settle(&outbound)
  }

  /// Drops what waits, and sends nothing more.
  mutating func silence(_ buffers: inout BufferPool) {
    sendFailure = .silenced
    staged.removeAll()
    outbound.removeAll()
    buffers.settle(&outbound)
  }

  /// Sends what waits. What is left afterwards waits for the socket to become writable.
  mutating func flush<IO: InputOutput & ~Copyable>(_ io: inout IO, _ buffers: inout BufferPool) {
    encryptStaged(&buffers)
    sendWaiting(&io, &buffers)
  }

  private mutating func sendWaiting<IO: InputOutput & ~Copyable>(
    _ io: inout IO, _ buffers: inout BufferPool
  ) {
    while !outbound.isEmpty && isWritable && sendFailure == nil {
      _ = sendOnce(followedBy: Span(), &io)
    }
    if sendFailure != nil { outbound.removeAll() }
    buffers.settle(&outbound)
  }

  /// Offers the waiting bytes and then `bytes` in one call; answers how many of `bytes` were taken.
  private mutating func sendOnce<IO: InputOutput & ~Copyable>(
    followedBy bytes: Span<UInt8>, _ io: inout IO
  ) -> Int {
    let waiting = outbound.count
    switch io.send(to: socket, outbound.bytes, bytes) {
    case .sent(let count):
      sentByteCount += UInt64(count)
      outbound.consume(min(count, waiting))
      if count < waiting + bytes.count { isWritable = false }
      return max(0, count - waiting)
    case .wouldBlock:
      isWritable = false
    case .failed(let error):
      sendFailure = .system(error)
      isReadable = true
    }
    return 0
  }

  private mutating func writeTLS(_ bytes: Span<UInt8>, _ buffers: inout BufferPool) {
    if staged.count + bytes.count <= Self.joinedMax {
      if !staged.hasStorage { staged = buffers.takeSmall() }
      if staged.count + bytes.count > staged.capacity { buffers.enlarge(&staged) }
      staged.append(bytes)
      return
    }
    encryptStaged(&buffers)
    encrypt(bytes, &buffers)
  }

  private mutating func encryptStaged(_ buffers: inout BufferPool) {
    if staged.isEmpty { return }
    var plaintext = ByteBuffer()
    swap(&plaintext, &staged)
    encrypt(plaintext.bytes, &buffers)
    buffers.give(plaintext)
  }

  private mutating func encrypt(_ bytes: Span<UInt8>, _ buffers: inout BufferPool) {
    if sendFailure != nil { return }
    buffers.enlarge(&outbound)
    var rest = 0..<bytes.count
    // Once round, unless the client asked for short records, which need more room for each byte.
    while !rest.isEmpty {
      outbound.reserve(TLSSession.ciphertextByteCount(for: rest.count))
      do throws(TLSFailure) {
        let taken = try Self.encrypt(&session, bytes.extracting(rest), &outbound)
        rest = (rest.lowerBound + taken)..<rest.upperBound
        if taken == 0 { outbound.reserve(outbound.freeCount * 2) }
      } catch {
        sendFailure = .tls(error)
        return
      }
    }
  }

  /// Writes close_notify behind everything else; without TLS there is nothing to say.
  mutating func writeCloseNotify(_ buffers: inout BufferPool) {
    guard isEncrypted, failure == nil, sendFailure == nil else { return }
    encryptStaged(&buffers)
    buffers.enlarge(&outbound)
    outbound.reserve(256)
    Self.closeNotify(&session, &outbound)
  }

  /// Turns a connection whose first bytes were not TLS into a plain one, to tell the peer so.
  mutating func abandonTLS(_ buffers: inout BufferPool) {
    session = nil
    security = .plain
    failure = nil
    release(to: &buffers)
  }

  /// Receives and discards, without decrypting.
  mutating func discard<IO: InputOutput & ~Copyable>(
    _ io: inout IO, _ buffers: inout BufferPool
  ) -> ReceiveResult {
    if !isReadable { return .wouldBlock }
    var block = buffers.takeLarge()
    let result = Self.receive(from: socket, into: &block, &io)
    buffers.give(block)
    _ = noteReceived(result)
    return result.0
  }

  /// Gives up what a failed session holds. An alert that waits is still sent.
  mutating func endSession(_ buffers: inout BufferPool) {
    session = nil
    inbound.removeAll()
    settle(&buffers)
  }

  /// Gives all buffers back, before the connection goes.
  mutating func release(to buffers: inout BufferPool) {
    inbound.removeAll()
    ciphertext.removeAll()
    staged.removeAll()
    outbound.removeAll()
    settle(&buffers)
  }

  /// Gives back what holds nothing, when the connection comes to rest.
  mutating func settle(_ buffers: inout BufferPool) {
    buffers.settle(&inbound)
    buffers.settle(&ciphertext)
    buffers.settle(&staged)
    buffers.settle(&outbound)
  }
}
