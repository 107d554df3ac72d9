// Driving clients' connections: handshake, request heads, bodies, and the ways a connection ends.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  /// Room that an answer's head may need; below it the next request waits until the client reads.
  static var headRoom: Int { 40 * 1024 }
  /// A client that still sends after its last answer is looked at once in this time.
  private static var lingerPause: TimeSpan { .seconds(5) }
  /// Short while connections are wanted back, be it for the end or for others.
  private var lingerTime: TimeSpan { isCalm ? settings.lingerTime : .seconds(1) }
  private var isCalm: Bool { stage == .serving && overload == .normal }

  mutating func driveDownstream(_ handle: Handle) {
    while downstreams.contains(handle) {
      let goesOn: Bool
      switch downstreams[handle].phase {
      case .handshaking: goesOn = handshake(handle)
      case .awaitingHead where downstreams[handle].headTurn == turnNumber:
        // A request that is answered at once, as with a redirect or without a backend, may have the
        // next behind it, and that may be dear: it is everybody else's turn first.
        if downstreams[handle].transport.mayHoldMore { queueToDriveNext(downstream: handle) }
        goesOn = false
      case .awaitingHead: goesOn = receiveHead(handle)
      case .exchanging(let exchange): goesOn = driveRequest(exchange)
      case .relaying(let exchange): goesOn = relayRequest(exchange)
      case .flushing: goesOn = false
      case .lingering(let lingering):
        linger(handle, lingering)
        goesOn = false
      }
      if !goesOn { break }
    }
    guard downstreams.contains(handle) else { return }
    if downstreams[handle].transport.takeGaveWay() { queueToDrive(downstream: handle) }
    if !downstreams[handle].transport.isFlushed { queueToFlush(downstream: handle) }
  }

  private mutating func receive(downstream handle: Handle) -> Transport.Arrival {
    downstreams[handle].transport.receive(&io, &buffers)
  }

  // MARK: Handshake

  private mutating func handshakeEnded() {
    handshakes.ended()
    metrics.subtract(.handshakesActive)
  }

  private mutating func handshake(_ handle: Handle) -> Bool {
    let arrival = receive(downstream: handle)
    if downstreams[handle].transport.isEstablished {
      countHandshake(of: handle)
      handshakeEnded()
      downstreams[handle].phase = .awaitingHead
      setDeadline(downstream: handle, now + settings.headTimeout)
      switch arrival {
      case .bytes: return true
      case .nothing:
        // The last flight may carry tickets only; a client that waits for nothing else would hang
        // if they were taken for a blocked connection, so they are flushed like any answer.
        downstreams[handle].transport.settle(&buffers)
        return false
      case .finished, .failed:
        close(downstream: handle)
        return false
      }
    }
    switch arrival {
    case .bytes, .nothing:
      return false
    case .finished:
      countFailedHandshake(nil)
      close(downstream: handle)
    case .failed(let failure):
      countFailedHandshake(failure)
      if failure == .tls(.plaintextHTTP) {
        answerPlaintext(handle)
      } else {
        close(downstream: handle)
      }
    }
    return false
  }

  /// Somebody spoke HTTP to the TLS port: say so in a way they can read.
  private mutating func answerPlaintext(_ handle: Handle) {
    handshakeEnded()
    downstreams[handle].phase = .awaitingHead
    downstreams[handle].transport.abandonTLS(&buffers)
    answerLocally(
      handle, .plaintextOnTLSPort, failure: .malformedHead, reason: "plaintext-http", head: false)
  }

  // MARK: Heads

  /// True when there is more to do at once.
  private mutating func receiveHead(_ handle: Handle) -> Bool {
    // While the client doesn't take its last answer, its next request waits.
    if downstreams[handle].transport.room < Self.headRoom
      || downstreams[handle].transport.isBlocked
    {
      return false
    }
    if downstreams[handle].transport.inbound.isEmpty {
      switch receive(downstream: handle) {
      case .bytes: break
      case .nothing:
        // Idle between requests: it holds no buffer.
        downstreams[handle].transport.settle(&buffers)
        return false
      case .finished, .failed:
        close(downstream: handle)
        return false
      }
    }
    do throws(HTTP1Error) {
      if try downstreams[handle].parseHead(into: &requestHead) {
        downstreams[handle].headTurn = turnNumber
        beginExchange(handle)
        return true
      }
    } catch {
      refuse(handle, error)
      return false
    }
    // A part of a head: from its first byte on, the whole of it has limited time.
    switch receive(downstream: handle) {
    case .bytes:
      return true
    case .nothing:
      if downstreams[handle].beganAt == nil {
        downstreams[handle].beganAt = now
        setDeadline(downstream: handle, now + settings.headTimeout)
      }
      downstreams[handle].transport.settle(&buffers)
      return false
    case .finished, .failed:
      close(downstream: handle)
      return false
    }
  }

  /// The head could not be parsed: there is no telling where the next request would start.
  private mutating func refuse(_ handle: Handle, _ error: HTTP1Error) {
    countRefusal(error)
    answerLocally(
      handle, LocalAnswer(error: error.status), failure: .malformedHead, reason: error.name,
      head: false)
  }

  // MARK: Ending

  /// The answer is written and the connection ends after it. `linger` when the client may still be
  /// sending.
  mutating func finishWriting(downstream handle: Handle, linger: Bool) {
    // close_notify goes before the last flush, so that it shares the send.
    downstreams[handle].transport.writeCloseNotify(&buffers)
    sendRest(downstream: handle, linger: linger)
  }

  /// What is written is sent, and the connection ends after it.
  mutating func sendRest(downstream handle: Handle, linger: Bool) {
    downstreams[handle].phase = .flushing(
      thenLinger: linger || downstreams[handle].transport.hasAlert)
    var time = settings.bodyIdleTimeout
    if let rate = settings.minimumRate {
      time = time + rate.time(for: UInt64(downstreams[handle].transport.heldByteCount))
    }
    setDeadline(downstream: handle, now + time)
    queueToFlush(downstream: handle)
  }

  mutating func flushDownstream(_ handle: Handle) {
    let sentByteCount = downstreams[handle].transport.sentByteCount
    downstreams[handle].transport.flush(&io, &buffers)
    countBytes(downstream: handle)
    if downstreams[handle].transport.sendFailure != nil {
      downstreamBroke(handle)
      return
    }
    if downstreams[handle].transport.sentByteCount > sentByteCount { clientTookBytes(handle) }
    watchTaking(handle)
    guard downstreams[handle].transport.isFlushed else { return }
    switch downstreams[handle].phase {
    case .flushing(let thenLinger):
      if thenLinger {
        io.shutdownSending(downstreams[handle].transport.socket)
        downstreams[handle].transport.inbound.removeAll()
        downstreams[handle].phase = .lingering(
          DownstreamConnection.Lingering(endsAt: now + lingerTime))
        setDeadline(downstream: handle, now + min(lingerTime, Self.lingerPause))
        queueToDrive(downstream: handle)
      } else {
        close(downstream: handle)
      }
    case .exchanging(let exchange):
      resumeResponse(exchange)
    case .relaying(let exchange):
      resumeResponse(exchange)
    case .awaitingHead:
      // A pipelined request may have waited for room, here or still in the socket.
      if downstreams[handle].transport.mayHoldMore { queueToDrive(downstream: handle) }
    case .handshaking, .lingering:
      break
    }
  }

  /// A client that takes its answer slowly but steadily is not stalled.
  private mutating func clientTookBytes(_ handle: Handle) {
    switch downstreams[handle].phase {
    case .exchanging(let exchange), .relaying(let exchange):
      exchanges[exchange].machine.progressed(at: now)
      updateDeadline(exchange)
    case .flushing:
      // With a minimal rate, the time for the rest was set once and for all.
      if settings.minimumRate == nil {
        setDeadline(downstream: handle, now + settings.bodyIdleTimeout)
      }
    case .handshaking, .awaitingHead, .lingering:
      break
    }
  }

  /// While an answer waits for its client, the client is looked at once in each grace time.
  private mutating func watchTaking(_ handle: Handle) {
    guard let rate = settings.minimumRate, case .exchanging = downstreams[handle].phase else {
      return
    }
    let isWatched = downstreams[handle].deadline.instant != .never
    if downstreams[handle].transport.isBlocked == isWatched { return }
    downstreams[handle].takenByteCount = nil
    setDeadline(downstream: handle, isWatched ? .never : now + rate.grace)
  }

  /// An answer still waits for its client. What counts is what the client's own kernel has
  /// acknowledged: ours reports room only when a third of its buffer is free, and with a large one
  /// that takes an honest client longer than any idle time.
  private mutating func lookAtTaking(_ handle: Handle, _ exchange: Handle) {
    guard let rate = settings.minimumRate, downstreams[handle].transport.isBlocked else { return }
    let waiting = io.unacknowledgedByteCount(of: downstreams[handle].transport.socket)
    let sent = downstreams[handle].transport.sentByteCount
    let taken = sent - min(sent, UInt64(max(0, waiting)))
    if let before = downstreams[handle].takenByteCount {
      if taken < before + rate.bytesPerGrace {
        metrics.add(.slowResponses)
        let hasAnswered = exchanges[exchange].machine.hasAnswered
        perform(
          exchanges[exchange].machine.refuse(
            hasAnswered ? .clientStalled : .requestTimeout, at: now), exchange)
        return
      }
    }
    // The first look only notes where it stands; for the idle time it counts as progress, which
    // the next one will confirm or not.
    exchanges[exchange].machine.progressed(at: now)
    updateDeadline(exchange)
    downstreams[handle].takenByteCount = taken
    setDeadline(downstream: handle, now + rate.grace)
  }

  /// Sending to the client failed.
  private mutating func downstreamBroke(_ handle: Handle) {
    switch downstreams[handle].phase {
    case .exchanging(let exchange), .relaying(let exchange): clientGone(exchange)
    default: close(downstream: handle)
    }
  }

  /// Drops a block of what the client sends after its last answer. Many clients write all they have
  /// before they read, and closing under them would reset the connection, and with it the answer
  /// that tells them why (RFC 9112 9.6).
  private mutating func linger(_ handle: Handle, _ lingering: DownstreamConnection.Lingering) {
    switch downstreams[handle].transport.discard(&io, &buffers) {
    case .received(let count):
      var lingering = lingering
      lingering.discardedByteCount += UInt64(count)
      downstreams[handle].phase = .lingering(lingering)
      // One block, and then whoever else is ready.
      if downstreams[handle].transport.isReadable { queueToDrive(downstream: handle) }
    case .wouldBlock:
      break
    case .finished, .failed:
      close(downstream: handle)
    }
  }

  /// A client that lingers has had its time, or is looked at: it goes on if it has sent steadily.
  private mutating func lingeringExpired(
    _ handle: Handle, _ lingering: DownstreamConnection.Lingering
  ) {
    let rate = UInt64(max(0, settings.minimumRate?.bytesPerSecond ?? 0))
    let least = max(1, rate * UInt64(Self.lingerPause.milliseconds) / 1000)
    if now >= lingering.endsAt || lingering.discardedByteCount < least || !isCalm {
      return close(downstream: handle, reset: true)
    }
    downstreams[handle].phase = .lingering(
      DownstreamConnection.Lingering(endsAt: lingering.endsAt))
    setDeadline(downstream: handle, min(lingering.endsAt, now + Self.lingerPause))
  }

  mutating func downstreamExpired(_ handle: Handle) {
    switch downstreams[handle].phase {
    case .handshaking:
      metrics.add(.handshakesTimedOut)
      close(downstream: handle)
    case .awaitingHead:
      if downstreams[handle].beganAt != nil {
        metrics.add(.slowHeads)
        answerLocally(handle, LocalAnswer(error: 408), failure: .requestTimeout, head: false)
      } else if downstreams[handle].transport.isBlocked {
        // It still takes its last answer, and may have asked for more meanwhile.
        finishWriting(downstream: handle, linger: true)
      } else {
        downstreams[handle].transport.writeCloseNotify(&buffers)
        downstreams[handle].transport.flush(&io, &buffers)
        close(downstream: handle)
      }
    case .flushing:
      metrics.add(.slowResponses)
      close(downstream: handle, reset: true)
    case .lingering(let lingering):
      lingeringExpired(handle, lingering)
    case .exchanging(let exchange):
      lookAtTaking(handle, exchange)
    case .relaying:
      // The exchange has a deadline of its own.
      break
    }
  }

  /// The session failed, and the alert that says why is still to be sent (RFC 8446 6.2). Then only
  /// the sending side ends, and for a while what comes is discarded: to close a socket on which
  /// unread bytes wait would reset the connection, and a reset takes the alert along.
  private mutating func sendAlert(downstream handle: Handle) {
    if case .handshaking = downstreams[handle].phase { handshakeEnded() }
    downstreams[handle].transport.endSession(&buffers)
    downstreams[handle].phase = .flushing(thenLinger: true)
    setDeadline(downstream: handle, now + lingerTime)
    queueToFlush(downstream: handle)
  }

  /// Closes the connection; where an alert is to be sent, after that.
  mutating func close(downstream handle: Handle, reset: Bool = false) {
    if downstreams[handle].transport.hasAlert && stage != .finished
      && !downstreams[handle].isEnding
    {
      return sendAlert(downstream: handle)
    }
    countFailedSession(of: handle)
    countBytes(downstream: handle)
    downstreams[handle].deadline.cancel(in: &timers)
    downstreams[handle].exchangeDeadline.cancel(in: &timers)
    if case .handshaking = downstreams[handle].phase { handshakeEnded() }
    countClosed(downstream: handle)
    let logins = downstreams[handle].logins
    var connection = downstreams.remove(handle)
    for login in logins where upstreams.contains(login) { close(upstream: login) }
    connection.transport.release(to: &buffers)
    io.close(connection.transport.socket, reset: reset)
    admission.leave(connection.block)
    metrics.add(.downstreamConnectionsClosed)
    metrics.subtract(.downstreamConnectionsActive)
    downstreamCountChanged()
  }
}
