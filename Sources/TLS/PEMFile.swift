// The content of a certificate or key file.
//
// The file is read here and parsed from memory. OpenSSL's own file functions report a missing file,
// a directory and a wrong password in the same queue of codes.

import Glibc
import COpenSSL

/// The content of a file. It is wiped after use, since it may contain a private key.
@safe struct PEMFile: ~Copyable {
  let path: String
  /// Whether every user of the machine may read the file.
  let isWorldReadable: Bool
  let isWritableByOthers: Bool
  private let bytes: UnsafeMutableBufferPointer<UInt8>

  /// No chain is this long; the limit bounds the cost of a path to a device.
  private static let byteCountMax = 1 << 20

  init(path: String) throws(CertificateFailure) {
    // A pipe is opened without waiting for a process that writes to it, and then refused.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    if descriptor < 0 { throw Self.failure(path: path, code: errno) }
    defer { close(descriptor) }
    var status = stat()
    if unsafe fstat(descriptor, &status) != 0 { throw Self.failure(path: path, code: errno) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw Self.failure(path: path, code: EISDIR)
    default: throw .unreadableFile(path: path, reason: "it is not a regular file")
    }

    let block = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: Self.byteCountMax)
    var count = 0
    while count < block.count {
      let target = unsafe block.baseAddress.map { unsafe $0 + count }
      let got = unsafe read(descriptor, target, block.count - count)
      if got == 0 { break }
      if got < 0 {
        if errno == EINTR { continue }
        let failure = Self.failure(path: path, code: errno)
        unsafe block.deallocate()
        throw failure
      }
      count += got
    }
    self.path = path
    isWorldReadable = status.st_mode & S_IROTH != 0
    isWritableByOthers = status.st_mode & (S_IWGRP | S_IWOTH) != 0
    unsafe bytes = UnsafeMutableBufferPointer(rebasing: block[..<count])
  }

  deinit {
    unsafe OPENSSL_cleanse(bytes.baseAddress, bytes.count)
    unsafe bytes.deallocate()
  }

  var isEmpty: Bool { unsafe bytes.isEmpty }

  /// Passes the content to `body` as a BIO.
  func withBIO<Result: ~Copyable, Failure: Error>(
    _ body: (OpaquePointer) throws(Failure) -> Result
  ) throws(Failure) -> Result? {
    let source = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count))
    guard let source = unsafe source else { return nil }
    defer { unsafe BIO_free(source) }
    return try unsafe body(source)
  }

  /// Whether the text contains the first line of a PEM block.
  var hasPEMBlock: Bool { contains("-----BEGIN ") }

  func contains(_ text: StaticString) -> Bool {
    let length = text.utf8CodeUnitCount
    guard let start = unsafe bytes.baseAddress, unsafe bytes.count >= length else { return false }
    for offset in 0...(unsafe bytes.count - length)
    where unsafe memcmp(start + offset, text.utf8Start, length) == 0 { return true }
    return false
  }

  static func failure(path: String, code: Int32) -> CertificateFailure {
    switch code {
    case ENOENT: .missingFile(path: path)
    // A socket.
    case ENXIO: .unreadableFile(path: path, reason: "it is not a regular file")
    default: .unreadableFile(path: path, reason: unsafe String(cString: strerror(code)))
    }
  }
}
