// SHA-256 and SHA-1 of a whole message, by OpenSSL. What a digest is for is up to its caller.

import COpenSSL

/// SHA-256 (FIPS 180-4).
func sha256(_ message: [UInt8]) -> InlineArray<32, UInt8> {
  unsafe digest(message) { unsafe SHA256($0, $1, $2) }
}

/// SHA-1, which WebSocket uses without any need for its security (RFC 6455 4.2.2).
public func sha1(_ message: [UInt8]) -> InlineArray<20, UInt8> {
  unsafe digest(message) { unsafe SHA1($0, $1, $2) }
}

/// - Parameter compute: writes as many bytes as the result has.
private func digest<let count: Int>(
  _ message: [UInt8],
  by compute: (UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<UInt8>?) ->
    UnsafeMutablePointer<UInt8>?
) -> InlineArray<count, UInt8> {
  var digest = InlineArray<count, UInt8>(repeating: 0)
  var output = digest.mutableSpan
  unsafe output.withUnsafeMutableBufferPointer { output in
    _ = unsafe message.withUnsafeBufferPointer { input in
      unsafe compute(input.baseAddress, input.count, output.baseAddress)
    }
  }
  return digest
}
