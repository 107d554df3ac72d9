// Files as a whole: configuration, certificates and small files of the kernel. Blocking, so for
// the control thread only.

import Glibc

public enum File {
  /// The bytes of the file at `path`. Throws EFBIG when there are more than `limit`, ENOENT,
  /// EACCES, EISDIR and the like.
  public static func read(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw .last }
    defer { _ = close(descriptor) }

    var bytes: [UInt8] = []
    while true {
      var chunk = [UInt8](repeating: 0, count: chunkByteCount)
      let count = unsafe chunk.withUnsafeMutableBytes {
        unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
      }
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        throw .last
      }
      if count > limit - bytes.count { throw .fileTooLarge }
      bytes += chunk[..<count]
    }
  }

  private static let chunkByteCount = 16 * 1024
}
