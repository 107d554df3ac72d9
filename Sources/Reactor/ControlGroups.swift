// Where the limits of the control groups around this process stand (docker --cpus, a pod's memory).
//
// A limit of any group above the process counts too, so all of them are listed. In a container the
// path in /proc may be the host's, which isn't mounted: then only the part of the walk that exists
// counts, and it always ends at the mount's root.

enum ControlGroups {
  /// A control group's folder, and by which version of the interface its files are read.
  struct Folder: Equatable {
    let path: String
    let isV2: Bool
  }

  /// The folders for `controller`, such as `cpu`, of the process's groups and those above them.
  static func folders(
    of controller: String, reading file: (String) -> String?
  ) -> [Folder] {
    guard let groups = file("/proc/self/cgroup") else { return [] }
    var folders: [Folder] = []
    for line in groups.split(separator: "\n") {
      // hierarchy:controllers:path, with an empty list of controllers for version 2.
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let isV2 = parts[1].isEmpty
      if !isV2 && !parts[1].split(separator: ",").contains(controller[...]) { continue }
      for group in ancestors(of: String(parts[2])) {
        let root = isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/\(controller)"
        folders.append(Folder(path: root + group, isV2: isV2))
      }
    }
    return folders
  }

  /// `/a/b` gives `/a/b`, `/a` and the empty path.
  private static func ancestors(of path: String) -> [String] {
    var names = path.split(separator: "/")
    var paths: [String] = []
    while !names.isEmpty {
      paths.append("/" + names.joined(separator: "/"))
      names.removeLast()
    }
    return paths + [""]
  }

  /// A small file of the kernel; nil when it isn't there.
  static func text(of path: String) -> String? {
    (try? File.read(path, limit: 64 * 1024)).map { String(decoding: $0, as: UTF8.self) }
  }
}
