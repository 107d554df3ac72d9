// Seeds that once found a fault, oldest first, with what it was. Each stays for good.
//
// A seed means another run once the drawing of plans has changed, so what it found is pinned by a
// test of its own as well.

struct KeptSeed {
  let seed: UInt64
  let found: String

  static let all: [KeptSeed] = []
}
