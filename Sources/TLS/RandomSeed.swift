// The only source of unpredictable numbers in the process. All random choices use a generator that
// is seeded from here, so that tests can use a fixed seed.

import COpenSSL

/// 64 unpredictable bits for seeding a generator.
public func randomSeed() -> UInt64 {
  var seed: UInt64 = 0
  let drawn = unsafe withUnsafeMutableBytes(of: &seed) { bytes in
    unsafe RAND_bytes(bytes.baseAddress, Int32(bytes.count)) == 1
  }
  if drawn { return seed }
  // OpenSSL is out of entropy or memory: use the system's generator, which is equally good.
  ERR_clear_error()
  return UInt64.random(in: .min ... .max)
}
