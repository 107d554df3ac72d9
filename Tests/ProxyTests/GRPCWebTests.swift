// gRPC-Web: which requests it translates, the frame of trailers, and base64 in pieces.

import Foundation
import HTTP
import Primitives
import Proxy
import Testing

@Suite struct GRPCWebTests {
  @Test(arguments: [
    ("application/grpc-web", GRPCWeb.binary, "application/grpc"),
    ("application/grpc-web+proto", .binary, "application/grpc+proto"),
    ("Application/GRPC-Web; charset=x", .binary, "application/grpc"),
    ("application/grpc-web-text", .text, "application/grpc"),
    ("application/grpc-web-text+json", .text, "application/grpc+json"),
  ])
  func aCallIsTranslated(type: String, form: GRPCWeb, translated: String) {
    var head = request([("Content-Type", type), ("A", "b")])
    head.method = Method(Array("POST".utf8).span)
    #expect(head.grpcWeb == form)
    head.becomeGRPC()
    #expect(lines(head.fields) == ["A: b", "Content-Type: \(translated)"])
  }

  @Test(arguments: ["application/grpc", "application/grpc-webs", "text/html", "application/grp"])
  func othersAreNot(type: String) {
    var head = request([("Content-Type", type)])
    head.method = Method(Array("POST".utf8).span)
    #expect(head.grpcWeb == nil)
  }

  @Test func onlyResponsesOfGRPCAreTranslated() {
    var page = response([("Content-Type", "text/html")])
    let isTranslated = page.becomeGRPCWeb(.binary)
    #expect(!isTranslated)
    var answer = response([("Content-Type", "Application/gRPC")])
    _ = answer.becomeGRPCWeb(.text)
    #expect(lines(answer.fields) == ["Content-Type: application/grpc-web-text+proto"])
  }

  @Test func trailersAreAFrame() {
    var block = FieldBlock()
    append([("Grpc-Status", "5"), ("x", "y z")], to: &block)
    var output = ByteBuffer()
    block.appendGRPCWebFrame(to: &output)
    let text = "grpc-status: 5\r\nx: y z\r\n"
    #expect(
      output.array(0..<output.count) == [0x80, 0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8))
  }

  @Test func base64InPieces() {
    for count in 0..<70 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 250) }
      var text = ByteBuffer()
      appendBase64(bytes.span, to: &text)
      let encoded = text.array(0..<text.count)
      #expect(String(decoding: encoded, as: UTF8.self) == Data(bytes).base64EncodedString())
      for step in 1...5 {
        var decoder = Base64Decoder()
        var output = ByteBuffer()
        var place = 0
        while place < encoded.count {
          let end = min(place + step, encoded.count)
          #expect(decoder.decode(encoded.span.extracting(place..<end), into: &output))
          place = end
        }
        #expect(decoder.isComplete)
        #expect(output.array(0..<output.count) == bytes)
      }
    }
  }

  @Test(arguments: ["QQ=a", "Q===", "=", "Q\nQ=", "Q-Q=", "QUFB*"])
  func notBase64(text: String) {
    var decoder = Base64Decoder()
    var output = ByteBuffer()
    #expect(!decoder.decode(Array(text.utf8).span, into: &output))
  }

  @Test func partsWithPaddingFollowEachOther() {
    var decoder = Base64Decoder()
    var output = ByteBuffer()
    #expect(decoder.decode(Array("QQ==QUI=QUJD".utf8).span, into: &output))
    #expect(String(decoding: output.array(0..<output.count), as: UTF8.self) == "AABABC")
    #expect(decoder.decode(Array("QQ".utf8).span, into: &output))
    #expect(!decoder.isComplete)
  }
}
