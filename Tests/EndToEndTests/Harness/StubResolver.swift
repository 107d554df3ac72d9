// Replaces the system's resolver in the process under test: names are looked up in a folder, and
// name servers don't answer for a name without a file.
//
// It replaces getaddrinfo, since the resolver's own settings (/etc/resolv.conf, port 53) can't be
// changed for one process.

import Foundation

final class StubResolver: Sendable {
  private let folder = TemporaryFolder()

  init() throws {
    try folder.write(Self.source, to: "resolver.c")
    let result = try run(
      ["cc", "-shared", "-fPIC", "-o", "resolver.so", "resolver.c", "-ldl"], in: folder.path)
    guard result.status == 0 else { throw HarnessError(result.errors) }
  }

  /// The environment for the process under test.
  var environment: [String: String] {
    // scripts/test preloads a library for the thread sanitizer, which must stay.
    let inherited = ProcessInfo.processInfo.environment["LD_PRELOAD"].map { "\($0):" } ?? ""
    return ["LD_PRELOAD": inherited + folder.path("resolver.so"), "STUB_NAMES": folder.path]
  }

  /// Sets the address of the name; waiting lookups return it too.
  func answer(_ name: String, _ address: String) throws { try put(address, name) }

  /// After this, every lookup of the name fails at once.
  func fail(_ name: String) throws { try put("fail", name) }

  /// After this, lookups of the name block.
  func silence(_ name: String) {
    try? FileManager.default.removeItem(atPath: folder.path("name-\(name)"))
  }

  /// Atomically, since another process may be reading.
  private func put(_ text: String, _ name: String) throws {
    try folder.write(text, to: "fresh")
    guard rename(folder.path("fresh"), folder.path("name-\(name)")) == 0 else {
      throw HarnessError("can't answer \(name)")
    }
  }

  /// The number of lookups of the name.
  func count(_ name: String) -> Int { folder.read("asked-\(name)").utf8.count }

  private static let source = #"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <netdb.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>

    typedef int (*lookup)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                    struct addrinfo **result) {
      lookup real = (lookup)dlsym(RTLD_NEXT, "getaddrinfo");
      const char *folder = getenv("STUB_NAMES");
      if (!folder || !name) return real(name, service, hints, result);
      char path[4096], text[256];
      snprintf(path, sizeof path, "%s/asked-%s", folder, name);
      int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      if (log >= 0) {
        if (write(log, "x", 1) != 1) abort();
        close(log);
      }
      snprintf(path, sizeof path, "%s/name-%s", folder, name);
      for (;;) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t count = file < 0 ? 0 : read(file, text, sizeof text - 1);
        if (file >= 0) close(file);
        if (count > 0) {
          text[count] = 0;
          break;
        }
        usleep(2000);
      }
      if (strcmp(text, "fail") == 0) return EAI_AGAIN;
      return real(text, service, hints, result);
    }
    """#
}
