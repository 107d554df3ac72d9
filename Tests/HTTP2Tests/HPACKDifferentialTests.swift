// HPACK against Python's hpack, in both directions: random lists, typical lists of browsers, curl,
// gRPC and servers, and blocks with faults.

import Foundation
import Primitives
import Testing

@testable import HTTP2

@Suite struct HPACKDifferentialTests {
  private static let sequenceCount = 400

  /// Lists as browsers, curl, gRPC and servers send them, written by hand.
  private static let typical: [[(String, String)]] = [
    [
      (":method", "GET"), (":authority", "www.example.com"), (":scheme", "https"),
      (":path", "/assets/app.3f2a1b.js?v=12"),
      ("sec-ch-ua", "\"Chromium\";v=\"126\", \"Not/A)Brand\";v=\"8\""),
      ("sec-ch-ua-mobile", "?0"), ("sec-ch-ua-platform", "\"Linux\""),
      ("upgrade-insecure-requests", "1"),
      (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
          + "Chrome/126.0.0.0 Safari/537.36"
      ),
      ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
      ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"),
      ("accept-encoding", "gzip, deflate, br, zstd"), ("accept-language", "en-US,en;q=0.9"),
      ("cookie", "session=0a1b2c3d4e5f60718293a4b5c6d7e8f9"), ("cookie", "theme=dark"),
      ("priority", "u=0, i"),
    ],
    [
      (":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "localhost:8443"),
      ("user-agent", "curl/7.88.1"), ("accept", "*/*"),
    ],
    [
      (":method", "POST"), (":scheme", "http"), (":path", "/helloworld.Greeter/SayHello"),
      (":authority", "localhost:50051"), ("content-type", "application/grpc"),
      ("user-agent", "grpc-go/1.64.0"), ("te", "trailers"), ("grpc-timeout", "998971u"),
      ("grpc-trace-bin", "AABmb28"),
    ],
    [
      (":status", "200"), ("server", "nginx/1.22.1"), ("date", "Mon, 30 Nov 2026 10:00:00 GMT"),
      ("content-type", "text/html; charset=utf-8"), ("content-length", "12345"),
      ("last-modified", "Sun, 29 Nov 2026 10:00:00 GMT"), ("etag", "\"5f3a-1b2c\""),
      ("cache-control", "public, max-age=3600"), ("vary", "Accept-Encoding"),
      ("set-cookie", "id=1; Path=/; HttpOnly; Secure"), ("accept-ranges", "bytes"),
      ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ],
    [(":status", "200"), ("content-type", "application/grpc")],
    [("grpc-status", "0"), ("grpc-message", "")],
    [(":status", "304"), ("date", "Mon, 30 Nov 2026 10:00:01 GMT"), ("age", "7")],
  ]

  private static func lists(_ random: inout RandomGenerator) -> [[FieldList.Entry]] {
    let names = [
      "server", "x-a", "accept", "cookie", "authorization", "etag", "x-request-id",
      "content-length",
      "a-rather-long-name-of-a-field", ":path", ":method", ":status", ":authority",
    ]
    return (0..<(1 + random.next(below: 8))).map { _ in
      if random.chance(1, in: 2) {
        return typical[random.next(below: typical.count)].map {
          FieldList.Entry(name: $0.0, value: $0.1)
        }
      }
      return (0..<random.next(below: 12)).map { _ in
        let count = random.next(below: random.chance(1, in: 8) ? 3000 : 30)
        let first = random.next(below: 64)
        let value = (0..<count).map { Character(Unicode.Scalar(UInt8(33 + (first + $0 * 7) % 90))) }
        return FieldList.Entry(
          name: names[random.next(below: names.count)], value: String(value),
          isNeverIndexed: random.chance(1, in: 10))
      }
    }
  }

  private static func line(_ fields: [FieldList.Entry]) -> String {
    let words = fields.map { field in
      (field.isNeverIndexed ? "!" : "") + hex(bytes(latin1: field.name)) + "="
        + hex(bytes(latin1: field.value))
    }
    return words.isEmpty ? "-" : words.joined(separator: "&")
  }

  @Test(arguments: [false, true])
  func whatWeEncodeTheOtherDecodes(isShared: Bool) throws {
    var random = RandomGenerator(seed: isShared ? 2 : 1)
    var lines: [String] = []
    var wanted: [[String]] = []
    for _ in 0..<Self.sequenceCount {
      var bench = EncoderBench(
        tableByteCountCap: [0, 200, 4096][random.next(below: 3)], isShared: isShared)
      var line = "D"
      var lists: [String] = []
      for fields in Self.lists(&random) {
        if random.chance(1, in: 4) {
          // After its setting was lowered, a decoder requires a size update in the next block.
          let size = [0, 100, 4096][random.next(below: 3)]
          bench.encoder.setTableByteCountMax(size)
          line += " T\(size)"
        }
        let block = bench.encode(fields)
        line += block.isEmpty ? " -" : " \(hex(block))"
        // Our encoder marks secrets itself, so marks are not compared here.
        lists.append(Self.line(fields).replacingOccurrences(of: "!", with: ""))
      }
      lines.append(line)
      wanted.append(lists)
    }
    let answers = try PythonPeer.answers(of: "hpack-peer.py", to: lines)
    for (index, answer) in answers.enumerated() {
      let got = answer.split(separator: " ").map { $0.replacingOccurrences(of: "!", with: "") }
      #expect(got == wanted[index], "\(lines[index])")
      if got != wanted[index] { break }
    }
  }

  @Test func whatTheOtherEncodesWeDecode() throws {
    var random = RandomGenerator(seed: 3)
    var lines: [String] = []
    var wanted: [[String]] = []
    for _ in 0..<Self.sequenceCount {
      let lists = Self.lists(&random).map { Self.line($0) }
      wanted.append(lists)
      lines.append("E " + lists.joined(separator: " "))
    }
    let answers = try PythonPeer.answers(of: "hpack-peer.py", to: lines)
    for (index, answer) in answers.enumerated() {
      var bench = DecoderBench()
      var got: [String] = []
      for word in answer.split(separator: " ") {
        let block = word == "-" ? [] : bytes(hex: String(word))
        got.append(Self.line(try bench.decode(block)))
      }
      #expect(got == wanted[index], "\(lines[index])")
      if got != wanted[index] { break }
    }
  }

  @Test func blocksWithFaultsAreDecodedAlikeOrRefused() throws {
    var random = RandomGenerator(seed: 4)
    var cases: [[[UInt8]]] = []
    for _ in 0..<(Self.sequenceCount * 4) {
      var bench = EncoderBench()
      var blocks = Self.lists(&random).prefix(3).map { bench.encode($0) }
      for _ in 0..<(1 + random.next(below: 3)) {
        let place = random.next(below: blocks.count)
        guard !blocks[place].isEmpty else { continue }
        let index = random.next(below: blocks[place].count)
        switch random.next(below: 3) {
        case 0: blocks[place][index] = UInt8(truncatingIfNeeded: random.next())
        case 1: blocks[place][index] ^= 1 << UInt8(random.next(below: 8))
        default: blocks[place].remove(at: index)
        }
      }
      cases.append(blocks)
    }
    let lines = cases.map { "D " + $0.map { $0.isEmpty ? "-" : hex($0) }.joined(separator: " ") }
    let answers = try PythonPeer.answers(of: "hpack-peer.py", to: lines)
    var bothCount = 0
    for (index, answer) in answers.enumerated() {
      var bench = DecoderBench()
      let theirs = answer.split(separator: " ").map(String.init)
      for (place, block) in cases[index].enumerated() {
        let their = place < theirs.count ? theirs[place] : "!"
        let theyRefuse = their.hasPrefix("!") && !their.contains("=")
        do throws(HTTP2Error) {
          let fields = Self.line(try bench.decode(block))
          #expect(!theyRefuse && fields == their, "\(lines[index]): \(their)")
          bothCount += 1
        } catch {
          // Only integers beyond 32 bits may be refused by us alone.
          #expect(theyRefuse || error == .badHPACKInteger, "\(lines[index]): \(error), \(their)")
          break
        }
      }
    }
    #expect(bothCount > Self.sequenceCount)
  }
}
