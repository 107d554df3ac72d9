// UDP sockets from the worker's point of view: recvmmsg and sendmmsg.
//
// Sockets are reported as long as a datagram waits, so a worker may leave some for its next turn.
// Where the kernel or the network device can't split an entry of several datagrams (UDP_SEGMENT),
// they are sent one by one.

import CLinux
import Glibc
public import Primitives

extension EpollIO {
  public mutating func connectDatagrams(
    to address: SocketAddress, token: UInt64
  ) -> ConnectResult {
    connectDatagrams(to: address, from: nil, token: token)
  }

  public mutating func connectDatagrams(
    to address: SocketAddress, from source: IPAddress?, token: UInt64
  ) -> ConnectResult {
    let target: KernelAddress
    do { target = try KernelAddress(address) } catch { return .failed(error) }
    let kind = SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
    let descriptor = socket(target.family, Int32(kind), 0)
    if descriptor < 0 { return .failed(.last) }
    var error = source.flatMap { TransparentSocket.bind(descriptor, to: $0) }
    if error != nil {
      // Without the source, the datagrams would be another client's.
    } else if unsafe target.withPointer({ unsafe Glibc.connect(descriptor, $0, $1) }) < 0 {
      // No local port is left, which connect says in this way.
      error = errno == EAGAIN ? .addressNotAvailable : .last
    } else {
      error = watchDatagrams(descriptor, token)
    }
    if let error {
      _ = Glibc.close(descriptor)
      return .failed(error)
    }
    return .started(Socket(descriptor: descriptor))
  }

  public mutating func adopt(datagrams socket: Socket, token: UInt64) -> SystemError? {
    watchDatagrams(socket.descriptor, token)
  }

  public mutating func release(datagrams socket: Socket) { forget(socket.descriptor) }

  public mutating func joinDatagrams(_ socket: Socket) {
    // An old kernel delivers them one by one.
    _ = clinux_join_datagrams(socket.descriptor, 1)
  }

  public mutating func receiveDatagrams(
    from socket: Socket, into batch: inout DatagramBatch
  ) -> ReceiveResult {
    precondition(!batch.isFull, "no room: it would look as if nothing waited")
    while true {
      let received = batch.receive(from: socket.descriptor)
      if received >= 0 { return .received(Int(received)) }
      let error = SystemError.last
      switch error.code {
      case EAGAIN: return .wouldBlock
      case EINTR: continue
      default:
        error.trapIfOurs(in: "recvmmsg")
        return .failed(error)
      }
    }
  }

  public mutating func sendDatagrams(
    to socket: Socket, _ batch: borrowing DatagramBatch, _ range: Range<Int>
  ) -> SendResult {
    precondition(!range.isEmpty, "nothing to send")
    var index = range.lowerBound
    while index < range.upperBound {
      if !splitsDatagrams && batch.isSeveral(index) {
        if let error = batch.sendSingly(index, to: socket.descriptor) {
          return result(index - range.lowerBound, error)
        }
        index += 1
        continue
      }
      let end = splitsDatagrams ? range.upperBound : batch.endOfSingle(index, range.upperBound)
      let sent = batch.send(index..<end, to: socket.descriptor)
      if sent > 0 {
        index += Int(sent)
        continue
      }
      let error = SystemError.last
      if error.code == EINTR { continue }
      let isRefused = [EAGAIN, ECONNREFUSED, ENOBUFS, ENETUNREACH, EHOSTUNREACH].contains(
        error.code)
      guard batch.isSeveral(index), !isRefused else {
        return result(index - range.lowerBound, error)
      }
      // EIO: the device computes no checksums. Others: this entry is not to be split in this way,
      // since its datagrams are larger than the path's MTU, for example.
      if error.code == EIO || error.code == ENOPROTOOPT { splitsDatagrams = false }
      if let error = batch.sendSingly(index, to: socket.descriptor) {
        return result(index - range.lowerBound, error)
      }
      index += 1
    }
    return .sent(range.count)
  }

  private func result(_ sentCount: Int, _ error: SystemError) -> SendResult {
    if sentCount > 0 { return .sent(sentCount) }
    if error.code == EAGAIN { return .wouldBlock }
    error.trapIfOurs(in: "sendmmsg")
    return .failed(error)
  }
}

extension DatagramBatch {
  /// The end of the entries of one datagram from `index` on.
  fileprivate func endOfSingle(_ index: Int, _ end: Int) -> Int {
    var next = index + 1
    while next < end && !isSeveral(next) { next += 1 }
    return next
  }
}
