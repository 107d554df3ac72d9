// The Unix socket of the admin interface: which existing files are replaced, and which are not.

import Glibc
import Primitives
import Synchronization
import Testing

@testable import Reactor

@Suite struct LocalListenerTests {
  private let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"

  /// Listens at `path`.
  private func listen(
    at path: String? = nil, predecessor: Int32? = nil
  ) throws(SystemError) -> LocalListener {
    let listener = try LocalListener(path: path ?? self.path, predecessor: predecessor)
    do throws(SystemError) {
      try listener.takeName()
    } catch {
      listener.close()
      throw error
    }
    return listener
  }

  private func exists() -> Bool { access(path, F_OK) == 0 }

  /// A process that has ended leaves its socket file.
  @Test func `the socket of a process that is gone is replaced`() throws {
    let gone = try listen()
    close(gone.socket.descriptor)
    #expect(exists())
    let listener = try listen()
    defer { listener.close() }
    #expect(try connects())
  }

  @Test func `the socket of a process that listens is not replaced`() throws {
    let listener = try listen()
    defer { listener.close() }
    #expect(throws: SystemError.addressInUse) { try listen() }
    #expect(try connects())
  }

  @Test func `nor is the socket of one whose queue is full`() throws {
    let listener = try listen()
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
    #expect(throws: SystemError.addressInUse) { try listen() }
    #expect(exists())
  }

  @Test func `of listening processes only the predecessor's socket is replaced`() throws {
    let old = try listen()
    #expect(throws: SystemError.addressInUse) {
      try listen(predecessor: getpid() + 1)
    }
    let new = try listen(predecessor: getpid())
    // Closing the old one does not remove the file of the new one.
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
        try listen(predecessor: predecessor)
      }
    }
    #expect(try File.read(path, limit: 10) == Array("data".utf8))
    // A link is not followed and replaced either.
    let link = path + ".link"
    #expect(symlink(path, link) == 0)
    defer { unlink(link) }
    #expect(throws: SystemError(code: EEXIST)) { try listen(at: link) }
  }

  @Test func `a start that comes to nothing leaves the name of the process that serves`() throws {
    let old = try listen()
    defer { old.close() }
    let new = try LocalListener(path: path, predecessor: getpid())
    #expect(old.isInPlace)
    new.close()
    #expect(old.isInPlace)
    #expect(try connects())
    #expect(!leftovers())
  }

  /// Files next to the path: the temporary names of listeners.
  private func leftovers() -> Bool {
    guard let directory = opendir("/tmp") else { return false }
    defer { closedir(directory) }
    let prefix = path.dropFirst("/tmp/".count) + "."
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name.hasPrefix(prefix) { return true }
    }
    return false
  }

  @Test func `of several that start at once one takes the name of a process that is gone`() throws {
    for _ in 0..<50 {
      let gone = try listen()
      close(gone.socket.descriptor)
      let taken = Mutex<[LocalListener]>([])
      let threads = try (0..<8).map { _ in
        try Thread(name: "start") { [path] in
          guard let listener = try? LocalListener(path: path) else { return }
          if (try? listener.takeName()) == nil {
            listener.close()
          } else {
            taken.withLock { $0.append(listener) }
          }
        }
      }
      for thread in threads { thread.join() }
      let listeners = taken.withLock { $0 }
      #expect(listeners.count == 1)
      #expect(listeners.first?.isInPlace == true)
      for listener in listeners { listener.close() }
      #expect(!exists())
    }
  }

  @Test func `a path as long as a socket may have is no obstacle`() throws {
    let directory = "/tmp/" + String(repeating: "d", count: 99)
    defer { rmdir(directory) }
    let listener = try listen(at: directory + "/s")
    #expect(listener.isInPlace)
    listener.close()
    #expect(access(directory + "/s", F_OK) != 0)
  }

  private func connects() throws -> Bool {
    let descriptor = openSocket(family: AF_UNIX)
    defer { close(descriptor) }
    return try KernelAddress(.unix(path)).withPointer { connect(descriptor, $0, $1) } == 0
  }
}
