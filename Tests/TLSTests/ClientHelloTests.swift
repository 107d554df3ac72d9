// ClientHello: the name and the protocols of hellos of all kinds, in records and pieces of any
// size.

import Primitives
import Testing

@testable import TLS

@Suite struct ClientHelloTests {
  // MARK: Making hellos

  private static func vector(_ lengthByteCount: Int, _ content: [UInt8]) -> [UInt8] {
    (0..<lengthByteCount).reversed().map { UInt8(content.count >> (8 * $0) & 0xFF) } + content
  }

  private static func serverName(_ name: String) -> [UInt8] {
    [0, 0] + vector(2, vector(2, [0] + vector(2, Array(name.utf8))))
  }

  private static func alpn(_ names: [String]) -> [UInt8] {
    [0, 16] + vector(2, vector(2, names.flatMap { vector(1, Array($0.utf8)) }))
  }

  /// A message of the handshake (RFC 8446 4.1.2).
  private static func message(_ extensions: [UInt8]?, session: Int = 32) -> [UInt8] {
    let body =
      [3, 3] + [UInt8](repeating: 9, count: 32) + vector(1, [UInt8](repeating: 1, count: session))
      + vector(2, [0x13, 0x01]) + vector(1, [0]) + (extensions.map { vector(2, $0) } ?? [])
    return [1] + vector(3, body)
  }

  private static func records(_ message: [UInt8], of size: Int = 16_384) -> [UInt8] {
    stride(from: 0, to: message.count, by: size).flatMap { start in
      [22, 3, 1] + vector(2, Array(message[start..<min(message.count, start + size)]))
    }
  }

  /// Like a key share for X25519MLKEM768, which makes a hello longer than a packet.
  private static let large = [0, 51] + vector(2, [UInt8](repeating: 5, count: 1216))
  private static let whole = message(large + serverName("db.Example.com") + alpn(["h2", "x"]))

  // MARK: Reading them

  private struct Facts: Equatable {
    var verdict: HelloScan.Verdict
    var name: String?
    var offersH2 = false
    var isMalformed = false
  }

  /// Scans after each of the arrivals, as a worker does.
  private func read(_ bytes: [UInt8], arrivals: [Int]) -> Facts {
    var scan = HelloScan()
    for count in arrivals {
      let verdict = scan.scan(bytes.span.extracting(first: count))
      if verdict == .more { continue }
      guard verdict == .whole else { return Facts(verdict: verdict) }
      var message = ByteBuffer(capacity: 32 * 1024)
      ClientHello.appendMessage(bytes.span.extracting(first: count), to: &message)
      guard let hello = ClientHello(message.bytes) else {
        return Facts(verdict: verdict, isMalformed: true)
      }
      let name = hello.serverName.map { String(decoding: message.array($0), as: UTF8.self) }
      let offer = Array("h2".utf8)
      return Facts(
        verdict: verdict, name: name, offersH2: hello.offers(offer.span, in: message.bytes))
    }
    return Facts(verdict: .more)
  }

  @Test func aHelloIsFoundAtEveryCut() {
    for size in [1, 3, 100, 1000, 16_384] {
      let bytes = Self.records(Self.whole, of: size) + [22, 3, 3, 0, 1, 9]
      if bytes.count > HelloScan.byteMax { continue }
      let end = Self.records(Self.whole, of: size).count
      for cut in stride(from: 0, through: bytes.count, by: size == 1 ? 7 : 1) {
        let facts = read(bytes, arrivals: [cut, bytes.count])
        #expect(facts == Facts(verdict: .whole, name: "db.Example.com", offersH2: true))
        #expect((read(bytes, arrivals: [cut]).verdict == .whole) == (cut >= end), "\(cut)")
      }
      let all = Array(1...bytes.count)
      #expect(read(bytes, arrivals: all).name == "db.Example.com")
    }
  }

  @Test func aHelloMayHaveNoNameAndNoExtensions() {
    let other = Self.message(Self.alpn(["y"]), session: 0)
    for message in [Self.message(nil), Self.message([]), other] {
      let bytes = Self.records(message)
      #expect(read(bytes, arrivals: [bytes.count]) == Facts(verdict: .whole))
    }
  }

  @Test(arguments: [
    "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\u{16}\u{02}", "\u{15}\u{03}\u{01}",
    "\u{16}\u{03}\u{01}\u{00}\u{00}", "\u{16}\u{03}\u{01}\u{00}\u{04}\u{02}",
    "\u{16}\u{03}\u{01}\u{7f}\u{7f}", "*1\r\n$4\r\nPING\r\n", "\u{00}\u{00}\u{00}\u{08}",
  ])
  func otherProtocolsAreNotTLS(text: String) {
    let bytes = Array(text.utf8)
    #expect(read(bytes, arrivals: [bytes.count]).verdict == .notTLS)
    #expect(read(bytes, arrivals: Array(1...bytes.count)).verdict == .notTLS)
  }

  @Test func aHelloThatIsTooLongIsRefusedAtEveryCut() {
    let long = Self.message([0, 21] + Self.vector(2, [UInt8](repeating: 0, count: 16_100)))
    let fits = Self.message([0, 21] + Self.vector(2, [UInt8](repeating: 0, count: 15_000)))
    let tiny = Self.records(Self.whole, of: 1)
    let fitting = Self.records(fits)
    #expect(read(fitting, arrivals: [fitting.count]).verdict == .whole)
    for bytes in [Self.records(long + [UInt8](repeating: 0, count: 300)), tiny + tiny + tiny] {
      let visible = Array(bytes.prefix(18_000))
      let expected = read(visible, arrivals: [visible.count]).verdict
      for cut in stride(from: 1, to: visible.count, by: 501) {
        #expect(read(visible, arrivals: [cut, visible.count]).verdict == expected)
      }
    }
    // The length alone says so.
    let announced: [UInt8] = [22, 3, 1, 0, 4, 1, 0, 64, 1]
    #expect(read(announced, arrivals: [9]).verdict == .tooBig)
    // Records of one byte fill the limit before the message ends.
    let slow = Self.records(Self.message([UInt8](repeating: 0, count: 3000)), of: 1)
    let steps = Array(stride(from: 1, to: slow.count, by: 97))
    #expect(read(slow, arrivals: steps).verdict == .tooBig)
  }

  /// Every length that points beyond its container, in place of every byte.
  @Test func aMalformedHelloIsNoneAndNothingIsReadBeyondIt() {
    let name = Self.serverName("a.b")
    for wrong in [
      Self.message(name + [0]), Self.message([0, 0, 0, 9]),
      Self.message([0, 0] + Self.vector(2, [])),
      Self.message([0, 0] + Self.vector(2, Self.vector(2, [0, 0, 0]))),
      Self.message([0, 16] + Self.vector(2, [0, 9, 1])),
      Array(Self.message(name).dropLast()) + [1, 2],
    ] {
      var message = ByteBuffer(capacity: 1024)
      message.append(wrong.span)
      #expect(ClientHello(message.bytes) == nil)
    }
    let good = Self.message(name + Self.alpn(["h2"]))
    for index in good.indices {
      for value: UInt8 in [0, 1, 0x7F, 0xFF] {
        var bytes = good
        bytes[index] = value
        let hello = ClientHello(bytes.span)
        _ = hello?.offers([1].span, in: bytes.span)
      }
    }
  }
}
