// A digest that only a holder of the key can compute: for values that leave the process and must
// not reveal what they identify. It is computed when a configuration is loaded, never for a
// request.

/// The first 64 bits of HMAC-SHA256 (RFC 2104).
public func keyedDigest(_ message: [UInt8], key: [UInt8]) -> UInt64 {
  // HMAC by its definition: two hashes, each over a block with the key (64 bytes for SHA-256).
  let blockSize = 64
  var block = key
  if block.count > blockSize {
    let digest = sha256(key)
    block = digest.indices.map { digest[$0] }
  }
  block += [UInt8](repeating: 0, count: blockSize - block.count)
  let inner = sha256(block.map { $0 ^ 0x36 } + message)
  let outer = sha256(block.map { $0 ^ 0x5C } + inner.indices.map { inner[$0] })
  var value: UInt64 = 0
  for index in 0..<8 { value = value << 8 | UInt64(outer[index]) }
  return value
}
