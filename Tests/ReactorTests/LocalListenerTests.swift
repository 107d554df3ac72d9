// The Unix socket of the admin interface: which existing files are replaced, and which are not.

import Glibc
import Primitives
import Testing

@testable import Reactor

@Suite struct LocalListenerTests {
  private let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"

  private func exists() -> Bool { access(path, F_OK) == 0 }

  /// A process that has ended leaves its socket file.
  @Test func `the socket of a process that is gone is replaced`() throws {
    let gone = try LocalListener(path: path)
    close(gone.socket.descriptor)
    #expect(exists())
    let listener = try LocalListener(path: path)
    defer { listener.close() }
    #expect(try connects())
  }

  @Test func `the socket of a process that listens is not replaced`() throws {
    let listener = try LocalListener(path: path)
    defer { listener.close() }
    #expect(throws: SystemError.addressInUse) { try LocalListener(path: path) }
    #expect(try connects())
  }

  @Test func `nor is the socket of one whose queue is full`() throws {
    let listener = try LocalListener(path: path)
    defer { listener.close() }
    var waiting: [Int32] = []
    defer { for descriptor in waiting { close(descriptor) } }
    let address = try KernelAddress(.unix(path))
    var code: Int32 = 0
    while code == 0 && waiting.count <= Int(LocalListener.backlog) + 8 {
      let descriptor = openSocket(family: AF_UNIX)
      waiting.append(descriptor)
      if address.withPointer({ connect(descriptor, $0, $1) }) != 0 { code = errno }
    }
    #expect(code == EAGAIN)
    #expect(throws: SystemError.addressInUse) { try LocalListener(path: path) }
    #expect(exists())
  }

  @Test func `of listening processes only the predecessor's socket is replaced`() throws {
    let old = try LocalListener(path: path)
    #expect(throws: SystemError.addressInUse) {
      try LocalListener(path: path, predecessor: getpid() + 1)
    }
    let new = try LocalListener(path: path, predecessor: getpid())
    // The old one doesn't remove the new one's file.
    old.close()
    #expect(exists())
    #expect(try connects())
    new.close()
    #expect(!exists())
  }

  @Test func `a file that is no socket is not replaced`() throws {
    let descriptor = open(path, O_CREAT | O_WRONLY, 0o600)
    #expect(write(descriptor, "data", 4) == 4)
    close(descriptor)
    defer { unlink(path) }
    for predecessor in [nil, getpid()] {
      #expect(throws: SystemError(code: EEXIST)) {
        try LocalListener(path: path, predecessor: predecessor)
      }
    }
    #expect(try File.read(path, limit: 10) == Array("data".utf8))
    // A link is not followed and replaced either.
    let link = path + ".link"
    #expect(symlink(path, link) == 0)
    defer { unlink(link) }
    #expect(throws: SystemError(code: EEXIST)) { try LocalListener(path: link) }
  }

  private func connects() throws -> Bool {
    let descriptor = openSocket(family: AF_UNIX)
    defer { close(descriptor) }
    return try KernelAddress(.unix(path)).withPointer { connect(descriptor, $0, $1) } == 0
  }
}
