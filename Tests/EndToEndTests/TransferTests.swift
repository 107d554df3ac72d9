// Large bodies and many connections over TLS: complete, and in bounded memory.
//
// The default size is 256 MiB. An environment variable changes it, as in
//
//   MARTLET_TRANSFER_MIB=1024 scripts/test --filter TransferTests

import Foundation
import Testing

@Suite(.serialized) struct TransferTests {
  private static let mebibytes =
    ProcessInfo.processInfo.environment["MARTLET_TRANSFER_MIB"].flatMap { Int($0) } ?? 256
  /// A sanitizer uses several bytes for each one, and keeps freed memory for a while.
  private static let memoryLimit = (Installation.isSanitized ? 384 : 64) << 20

  private let certificates: Certificates

  init() throws { certificates = try Certificates() }

  private var listener: String { #""tls": { "certificates": [\#(certificates.entry())] }"# }

  private func curl(_ martlet: MartletProcess, _ path: String, _ arguments: String...) -> [String] {
    ["curl", "-sS", "--fail", "--max-time", "300", "--cacert", certificates.authority] + arguments
      + ["https://localhost:\(martlet.port)\(path)"]
  }

  private func digest(_ path: String) throws -> String {
    String(try run(["sha256sum", path], atMost: 120).output.prefix(64))
  }

  private func makeFile(_ path: String, mebibytes: Int) throws {
    let made = try run(["sh", "-c", "head -c \(mebibytes << 20) /dev/urandom > \(path)"])
    guard made.status == 0 else { throw HarnessError(made.errors) }
  }

  @Test func `a large download and a large upload arrive complete, in little memory`() throws {
    let nginx = try Nginx("files")
    let martlet = try MartletProcess(
      backends: [nginx], listener: listener, rest: #""limits": { "body-size": "2GiB" }"#)
    let file = nginx.folder.path("root/files/big")
    try makeFile(file, mebibytes: Self.mebibytes)
    let expected = try digest(file)

    let down = martlet.folder.path("down")
    let downloaded = try run(curl(martlet, "/files/big", "-o", down), atMost: 300)
    #expect(downloaded.status == 0, "\(downloaded.errors)")
    #expect(try digest(down) == expected)
    #expect(martlet.process.peakMemory < Self.memoryLimit, "\(martlet.process.peakMemory)")

    let uploaded = try run(curl(martlet, "/files/up", "-T", down), atMost: 300)
    #expect(uploaded.status == 0, "\(uploaded.errors)")
    #expect(try digest(nginx.folder.path("root/files/up")) == expected)
    #expect(martlet.process.peakMemory < Self.memoryLimit, "\(martlet.process.peakMemory)")

    // Without a length, and an empty body.
    let chunked = try run(
      curl(martlet, "/files/chunked", "-T", "-"), atMost: 60)
    #expect(chunked.status == 0)
  }

  @Test func `a slow client of a fast backend needs little memory`() throws {
    let nginx = try Nginx("files")
    let martlet = try MartletProcess(backends: [nginx], listener: listener)
    try makeFile(nginx.folder.path("root/files/big"), mebibytes: 64)
    let slow = try (0..<8).map { _ in
      try ChildProcess(curl(martlet, "/files/big", "--limit-rate", "1M", "-o", "/dev/null"))
    }
    let fast = try run(curl(martlet, "/files/big", "-o", "/dev/null"))
    #expect(fast.status == 0, "\(fast.errors)")
    #expect(slow.allSatisfy { $0.isRunning })
    #expect(martlet.process.peakMemory < Self.memoryLimit, "\(martlet.process.peakMemory)")
  }

  @Test func `a fast client of a slow backend needs little memory`() throws {
    // Reads a little, and then nothing until the test continues.
    let folder = TemporaryFolder()
    let stub = try StubBackend { request, wire in
      _ = poll { FileManager.default.fileExists(atPath: folder.path("go")) }
      try wire.takeBody(of: &request, isResponse: false)
      request.body = [UInt8(truncatingIfNeeded: request.body.count)]
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return true
    }
    let martlet = try MartletProcess(backends: [stub], listener: listener)
    let file = martlet.folder.path("big")
    try makeFile(file, mebibytes: 32)
    let uploads = try (0..<4).map { _ in
      try ChildProcess(curl(martlet, "/", "-T", file))
    }
    eventually("all have begun") { stub.requests.count == 4 }
    let settled = martlet.process.peakMemory
    #expect(settled < Self.memoryLimit)
    try folder.write("", to: "go")
    for upload in uploads {
      #expect(try upload.waitForExit(atMost: 120) == 0, "\(upload.errorText)")
      #expect(upload.outputText == "ok")
    }
    #expect(martlet.process.peakMemory < Self.memoryLimit, "\(martlet.process.peakMemory)")
  }

  @Test func `idle TLS connections are held, and served when they come back`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub], listener: listener)
    let result = try run(
      [
        Installation.scripts + "/hold-idle", "--port", "\(martlet.port)", "--count", "500",
        "--seconds", "0.5", "--path", "/",
      ], atMost: 60)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains(#""opened": 500"#))
    #expect(result.output.contains(#""still_open": 500"#))
    #expect(martlet.process.peakMemory < Self.memoryLimit, "\(martlet.process.peakMemory)")
    #expect(stub.requests.count == 500)
  }
}
