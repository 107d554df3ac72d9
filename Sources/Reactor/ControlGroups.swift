// Finds the control groups that limit this process (docker --cpus, a pod's memory).
//
// A limit of any group above the process applies too, so all of them are listed. In a container,
// the path in /proc may be the host's, which isn't mounted. Then only the part of the path that
// exists counts. The search always ends at the root of the mount.

enum ControlGroups {
  /// A control group's directory, and the version of the interface of its files.
  struct Folder: Equatable {
    let path: String
    let isV2: Bool
  }

  /// The directories for `controller`, such as `cpu`: the process's groups and those above them.
  static func folders(
    of controller: String, reading file: (String) -> String?
  ) -> [Folder] {
    guard let groups = file("/proc/self/cgroup") else { return [] }
    var folders: [Folder] = []
    for line in groups.split(separator: "\n") {
      // hierarchy:controllers:path; in version 2 the list of controllers is empty.
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

  /// The content of a small kernel file; nil when it doesn't exist.
  static func text(of path: String) -> String? {
    (try? File.read(path, limit: 64 * 1024)).map { String(decoding: $0, as: UTF8.self) }
  }
}
