// Notices when the configuration file, a certificate or a key has changed, so that nobody has to
// ask for a reload.
//
// It looks at the files twice a second instead of having the kernel report on them: a look costs a
// microsecond a file, sees through links that are swapped (as Kubernetes does), files that editors
// replace and file systems that report nothing, and has no limit to run into. A change counts when
// nothing has changed since the look before, so that a file which is written in pieces is taken
// whole; and only if the content is another one, so that touching a file does nothing.

import Primitives
import Reactor

struct WatchedFiles {
  /// What was seen of each file at the last look; nil for one that isn't there.
  private var versions: [String: FileVersion?] = [:]
  /// What stands in the files as they were taken up last, or refused.
  private var contents: [String: Int?] = [:]
  /// A look has found a change, and the files haven't been quiet since.
  private var isUnsettled = false
  private(set) var looksAt = Instant.never

  private static var interval: TimeSpan { .milliseconds(500) }
  /// Larger files are no configuration and no key.
  private static let sizeMax = 16 * 1024 * 1024

  /// From now on these are watched. Of those that are new, what stands in them now is known.
  mutating func watch(_ paths: Set<String>, at now: Instant) {
    versions = versions.filter { paths.contains($0.key) }
    contents = contents.filter { paths.contains($0.key) }
    for path in paths where versions[path] == nil { note(path) }
    looksAt = paths.isEmpty ? .never : now + Self.interval
  }

  /// What stands in the files at this moment is about to be taken up. To be called before they are
  /// read: what changes in between is found by the next look. Returns whether a content has changed
  /// since the last time.
  @discardableResult
  mutating func takeUp() -> Bool {
    let before = contents
    for path in Array(versions.keys) { note(path) }
    isUnsettled = false
    return contents != before
  }

  private mutating func note(_ path: String) {
    versions[path] = .some(FileVersion(of: path))
    contents[path] = .some(Self.content(of: path))
  }

  /// Looks if it is time; returns the files whose content is another one since they were taken up.
  mutating func look(at now: Instant) -> [String] {
    guard now >= looksAt else { return [] }
    looksAt = now + Self.interval
    var hasChanged = false
    for (path, before) in versions {
      let version = FileVersion(of: path)
      if version == before { continue }
      versions[path] = .some(version)
      hasChanged = true
    }
    if hasChanged {
      isUnsettled = true
      return []
    }
    guard isUnsettled else { return [] }
    isUnsettled = false
    var changed: [String] = []
    for (path, before) in contents {
      let content = Self.content(of: path)
      if content == before { continue }
      contents[path] = .some(content)
      changed.append(path)
    }
    return changed.sorted()
  }

  /// A number for the content of a file, which nobody outside of this process can aim at.
  private static func content(of path: String) -> Int? {
    guard let bytes = try? File.read(path, limit: sizeMax) else { return nil }
    return bytes.hashValue
  }
}
