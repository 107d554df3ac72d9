// One health check: a connection of its own, TLS as the pool has it, and perhaps a request.
//
// The request has the version of HTTP that the pool speaks. HealthChecker decides when a check is
// made, and what its result means.

import Balancing
import HTTP
import HTTP1
import HTTP2
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  mutating func startProbe(_ index: Int) {
    let target = checker.targets[index]
    guard let check = snapshot.pools[target.pool].check else { return }
    let responses = snapshot.pools[target.pool].responses
    var session: TLSSession?
    if let tls = snapshot.pools[target.pool].tls {
      do throws(TLSFailure) {
        // A resumed session wouldn't show the certificate.
        session = try tls.makeSession(
          with: target.member, worker: self.index, resumes: false,
          onlyHTTP1: stock.requiresHTTP1(target.member.record.id, at: now))
      } catch {
        return concluded(index, check, failure: FailureCause(error), took: .zero)
      }
    }
    let handle = checker.probes.nextHandle
    let address = check.address(of: target.member)
    let token = Token(.probe, handle).packed
    let result =
      check.isDatagram
      ? io.connectDatagrams(to: address, token: token) : io.connect(to: address, token: token)
    switch result {
    case .started(let socket):
      var probe = HealthChecker.Probe(
        target: index, check: check, transport: Transport(connecting: socket, session),
        startedAt: now, parser: ResponseParser(limits: responses.limits, rules: responses.desync))
      probe.deadline.set(now + check.timeout, payload: Token(.probe, handle).packed, in: &timers)
      let inserted = checker.probes.insert(probe)
      precondition(inserted == handle)
      // There is no connection to wait for.
      if check.isDatagram { driveProbe(handle, .writable) }
    case .failed(let error) where error.isShortage:
      // It says nothing about the backend.
      checker.targets[index].nextAt = now + check.interval
      enter(index, at: now + check.interval)
    case .failed(let error):
      concluded(index, check, failure: FailureCause(connecting: error), took: .zero)
    }
  }

  mutating func driveProbe(_ handle: Handle, _ readiness: Readiness) {
    guard checker.probes.contains(handle) else { return }
    checker.probes[handle].transport.note(readiness)
    if !checker.probes[handle].isConnected {
      guard checker.probes[handle].transport.isWritable else { return }
      if let error = io.connectionResult(of: checker.probes[handle].transport.socket) {
        return conclude(handle, failure: FailureCause(connecting: error))
      }
      checker.probes[handle].isConnected = true
      writeProxyHeader(ofProbe: handle)
      if checker.probes[handle].transport.isEncrypted {
        checker.probes[handle].transport.open(&buffers)
      }
    }
    if !checker.probes[handle].transport.isEstablished {
      if let failure = shakeHands(handle) { return conclude(handle, failure: failure) }
      guard checker.probes[handle].transport.isEstablished else { return }
    }
    if !checker.probes[handle].hasAsked {
      checker.probes[handle].hasAsked = true
      guard ask(handle) else { return }
    }
    // A socket may take the request in parts.
    checker.probes[handle].transport.flush(&io, &buffers)
    receiveAnswer(handle)
  }

  /// As the pool's connections begin. At another port a service of its own may listen, which knows
  /// no such header.
  private mutating func writeProxyHeader(ofProbe handle: Handle) {
    let check = checker.probes[handle].check
    guard let plan = check.proxyHeader, check.port == nil else { return }
    let member = checker.targets[checker.probes[handle].target].member
    frames.removeAll()
    plan.writeOwn(
      source: io.localAddress(of: checker.probes[handle].transport.socket),
      destination: member.address, into: &frames)
    checker.probes[handle].transport.writePreamble(frames, &buffers)
  }

  /// Continues the TLS handshake of a check; returns why it has failed.
  private mutating func shakeHands(_ handle: Handle) -> FailureCause? {
    while true {
      let arrival = checker.probes[handle].transport.receive(&io, &buffers)
      let spoken = checker.probes[handle].check.spoken
      if let cause = FailureCause(handshake: arrival, spoken) { return cause }
      checker.probes[handle].transport.flush(&io, &buffers)
      if checker.probes[handle].transport.isEstablished { return nil }
      if !checker.probes[handle].transport.takeGaveWay() { return nil }
    }
  }

  // MARK: Requests

  /// The connection is there: writes the request. False if the check is over.
  private mutating func ask(_ handle: Handle) -> Bool {
    let check = checker.probes[handle].check
    let member = checker.targets[checker.probes[handle].target].member
    let isEncrypted = checker.probes[handle].transport.isEncrypted
    let isHTTP2 =
      isEncrypted ? checker.probes[handle].transport.isHTTP2 : check.spoken == .http2
    if check.needsHTTP2 && !isHTTP2 {
      conclude(handle, failure: .noHTTP2)
      return false
    }
    switch check.kind {
    case .tcp:
      conclude(handle, failure: nil)
      return false
    case .talk(let send, _):
      checker.probes[handle].transport.write(send.span, &io, &buffers)
      return true
    case .http(let path, let host, _) where !isHTTP2:
      scratch.removeAll()
      scratch.append(string: "GET \(path) HTTP/1.1\r\nHost: ")
      scratch.append(string: host ?? member.checkHost)
      scratch.append("\r\nUser-Agent: martlet-health\r\nConnection: close\r\n\r\n")
      checker.probes[handle].transport.write(scratch, &io, &buffers)
    case .http, .grpc:
      frames.removeAll()
      var request = HTTP2Check(check, limits: settings.http2Backends, at: now)
      request.ask(
        host: member.checkHost, isEncrypted ? .https : .http, at: now, workspace: &http2,
        into: &frames)
      checker.probes[handle].http2 = consume request
      checker.probes[handle].transport.write(frames, &io, &buffers)
    }
    return true
  }

  private mutating func receiveAnswer(_ handle: Handle) {
    while true {
      switch checker.probes[handle].transport.receive(&io, &buffers) {
      case .bytes: break
      case .nothing:
        // A flood of such records fails the session.
        if checker.probes[handle].transport.takeGaveWay() { continue }
        checker.probes[handle].transport.flush(&io, &buffers)
        return
      case .finished: return conclude(handle, failure: .closedBeforeResponse)
      case .failed(.tls(let failure)): return conclude(handle, failure: FailureCause(failure))
      case .failed(.system(.connectionRefused)) where checker.probes[handle].check.isDatagram:
        return conclude(handle, failure: .connectRefused)
      case .failed: return conclude(handle, failure: .resetBeforeResponse)
      }
      if case .talk(_, let reply) = checker.probes[handle].check.kind {
        guard let isReply = checker.probes[handle].begins(with: reply) else { continue }
        return conclude(handle, failure: isReply ? nil : .badResponse)
      }
      if checker.probes[handle].beginsWithTLSAlert {
        return conclude(handle, failure: .badResponse, isTLSAlert: true)
      }
      frames.removeAll()
      let progress = checker.probes[handle].receiveHTTP2(
        at: now, workspace: &http2, into: &frames)
      checker.probes[handle].transport.write(frames, &io, &buffers)
      if progress != nil { noteSpoken(handle, .http2) }
      switch progress {
      case .waits: continue
      case .over(let failure): return conclude(handle, failure: failure)
      case .wantsHTTP1: return askByHTTP1(handle)
      case nil: break
      }
      do throws(HTTP1Error) {
        guard let status = try checker.probes[handle].parseStatus(into: &responseHead) else {
          continue
        }
        noteSpoken(handle, .http1)
        let isExpected = checker.probes[handle].check.expects(status)
        return conclude(handle, failure: isExpected ? nil : .status(status))
      } catch {
        return conclude(handle, failure: .badResponse)
      }
    }
  }

  /// The backend has answered in this version. Another port may have another server.
  private mutating func noteSpoken(_ handle: Handle, _ version: BackendVersion) {
    if version == .http2 && !checker.probes[handle].speaksHTTP2 { return }
    if checker.probes[handle].check.port != nil { return }
    checker.targets[checker.probes[handle].target].member.record.noteSpoken(version)
  }

  /// Makes the check again, over HTTP/1.
  private mutating func askByHTTP1(_ handle: Handle) {
    let target = checker.probes[handle].target
    let check = checker.probes[handle].check
    guard check.spoken == .auto, !check.needsHTTP2 else {
      return conclude(handle, failure: .noHTTP2)
    }
    stock.requireHTTP1(checker.targets[target].member.record.id, at: now)
    closeProbe(handle)
    startProbe(target)
    scheduleChecks()
  }

  // MARK: Ending

  /// What it means if a check wasn't complete in time.
  private mutating func lateness(_ handle: Handle) -> FailureCause {
    if !checker.probes[handle].isConnected { return .connectTimeout }
    return checker.probes[handle].transport.isEstablished ? .responseTimeout : .tlsTimeout
  }

  mutating func probeExpired(_ handle: Handle, payload: UInt64) {
    guard checker.probes.contains(handle),
      checker.probes[handle].deadline.fired(at: now, payload: payload, in: &timers)
    else { return }
    // Silence means nothing if no reply is expected.
    let mayBeSilent = checker.probes[handle].check.mayBeSilent
    conclude(handle, failure: mayBeSilent ? nil : lateness(handle))
  }

  /// `failure` is nil if the check passed.
  private mutating func conclude(
    _ handle: Handle, failure: FailureCause?, isTLSAlert: Bool = false
  ) {
    let target = checker.probes[handle].target
    let check = checker.probes[handle].check
    let duration = now - checker.probes[handle].startedAt
    closeProbe(handle)
    concluded(target, check, failure: failure, isTLSAlert: isTLSAlert, took: duration)
    scheduleChecks()
  }

  mutating func closeProbe(_ handle: Handle) {
    checker.probes[handle].deadline.cancel(in: &timers)
    frames.removeAll()
    checker.probes[handle].http2?.end(workspace: &http2, into: &frames)
    checker.probes[handle].transport.write(frames, &io, &buffers)
    if checker.probes[handle].transport.isEncrypted {
      checker.probes[handle].transport.writeCloseNotify(&buffers)
    }
    checker.probes[handle].transport.flush(&io, &buffers)
    var probe = checker.probes.remove(handle)
    probe.transport.release(to: &buffers)
    io.close(probe.transport.socket, reset: false)
  }
}

extension HealthChecker.Probe {
  /// A server that expects TLS may answer plain HTTP with an alert (RFC 8446 5.1: type 21).
  /// Nil while less has come, all of it right.
  func begins(with reply: [UInt8]) -> Bool? {
    let bytes = transport.inbound.bytes
    let count = min(bytes.count, reply.count)
    for index in 0..<count where bytes[index] != reply[index] { return false }
    return bytes.count < reply.count ? nil : true
  }

  var beginsWithTLSAlert: Bool {
    transport.inbound.count > 0 && transport.inbound.bytes[0] == 0x15 && !hasReceived
  }

  /// Whether the backend has shown that it does.
  var speaksHTTP2: Bool {
    switch http2 {
    case .some(let check): check.knowsPeer
    case .none: false
    }
  }

  /// What was received says so by HTTP/2; nil if the check is one of HTTP/1.
  mutating func receiveHTTP2(
    at now: Instant, workspace: inout HTTP2Workspace, into frames: inout ByteBuffer
  ) -> HTTP2Check.Progress? {
    hasReceived = true
    return http2?.receive(&transport.inbound, at: now, workspace: &workspace, into: &frames)
  }

  /// The status of the final head, if that has come: it may stand in the same segment as interim
  /// ones. Too many of those are no answer.
  mutating func parseStatus(into head: inout ResponseHead) throws(HTTP1Error) -> UInt16? {
    while try parser.take(from: &transport.inbound, into: &head) {
      if !head.isInterim {
        // Requests fail too if the length is invalid for clients.
        _ = try head.framing(answering: .get)
        return head.status
      }
      interimCount += 1
      if interimCount > ActiveCheck.interimMax { throw .badStatusLine }
    }
    return nil
  }
}
