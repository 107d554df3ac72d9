// The one place where unpredictable numbers enter the process: everything that picks at random
// below uses a generator seeded from here, so that tests can pass a seed of their own.

import COpenSSL

/// 64 unpredictable bits for seeding a generator.
public func randomSeed() -> UInt64 {
  var seed: UInt64 = 0
  let drawn = unsafe withUnsafeMutableBytes(of: &seed) { bytes in
    unsafe RAND_bytes(bytes.baseAddress, Int32(bytes.count)) == 1
  }
  if drawn { return seed }
  // OpenSSL is out of entropy or memory: the system's generator is as good a seed.
  ERR_clear_error()
  return UInt64.random(in: .min ... .max)
}
