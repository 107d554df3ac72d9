// Seeds that once found a bug, oldest first, with a description. They are never removed.
//
// When the drawing of plans changes, a seed means another run. So each bug also has its own test.

struct KeptSeed {
  let seed: UInt64
  let found: String

  static let all = beforeTCP + withTCP

  static func isOlderThanTCP(_ seed: UInt64) -> Bool { beforeTCP.contains { $0.seed == seed } }

  /// Those from before there were TCP connections in the simulation; they have none.
  static let beforeTCP = [
    KeptSeed(seed: 569, found: "a reload behind a drain began checks that nobody ended"),
    KeptSeed(seed: 28198, found: "a check whose request was sent in part was never sent whole"),
    KeptSeed(seed: 1487, found: "a reload's body limit was applied to a request under way"),
    KeptSeed(seed: 1645, found: "a drain cut off a client that was taking its last answer"),
    KeptSeed(seed: 1259, found: "pipelined answers that are cut off together, which is allowed"),
    KeptSeed(seed: 202968, found: "a pipelined request behind a blocked answer was forgotten"),
    KeptSeed(seed: 240266, found: "a stop ended half an answer as if it were whole"),
    KeptSeed(seed: 213702, found: "half a 100 is an answer begun, and not asked for again"),
    KeptSeed(seed: 236798, found: "a lost beginning was taken for later than it was sent"),
    KeptSeed(seed: 245869, found: "a client late with its last bytes got 408, rightly"),
    KeptSeed(seed: 39_313_275, found: "half a head when the time is up is 504, rightly"),
    KeptSeed(seed: 39_314_332, found: "a reset behind a time-out was taken for its cause"),
    KeptSeed(seed: 648_210_625, found: "a large PUT lost its first byte: 502, rightly"),
    KeptSeed(seed: 771_014_758, found: "a chunk's size was no progress"),
    KeptSeed(seed: 772_010_466, found: "a deaf backend's timeout was blamed on the client"),
    KeptSeed(seed: 780_022_665, found: "a request whose end waits for a deaf backend, rightly"),
    KeptSeed(seed: 790_014_219, found: "a large body that waits for a backend has no end yet"),
    KeptSeed(seed: 810_009_331, found: "a backend that answered 500 was ejected, rightly"),
    KeptSeed(seed: 772_018_031, found: "a drain reset a client that still took its response"),
    KeptSeed(seed: 30_004_811, found: "a backend was blamed for a deaf HTTP/2 client"),
    KeptSeed(seed: 30_027_645, found: "a backend was blamed: its head waited for other responses"),
    KeptSeed(seed: 30_029_839, found: "a request after a long rest was refused, rightly"),
    KeptSeed(seed: 1775, found: "a stream was reset before all of its answer, and never released"),
    KeptSeed(seed: 960_015_136, found: "a drain refused a request that arrived byte by byte"),
    KeptSeed(seed: 970_027_184, found: "the GOAWAYs of a drain met a slow client at once"),
    KeptSeed(seed: 1_000_004_211, found: "unasked bytes behind a short read, which are not seen"),
    KeptSeed(seed: 2_000_031_981, found: "the end of a connection sent what was tried elsewhere"),
    KeptSeed(seed: 2_000_001_258, found: "the end of a body found no room behind END_STREAM"),
    KeptSeed(seed: 3_100_000_437, found: "a clock jump between an answer and its reading"),
    KeptSeed(seed: 3_100_003_896, found: "a clock jump within a frame of a backend"),
    KeptSeed(seed: 3_100_007_352, found: "a clock jump within a flood"),
    KeptSeed(seed: 3_000_001_401, found: "a slow answer that nobody waited for"),
    KeptSeed(seed: 4_100_035_652, found: "a whole response was cut when its stream broke"),
    KeptSeed(seed: 4_000_005_639, found: "the time was over when the last attempt was answered"),
    KeptSeed(seed: 4_000_020_831, found: "a request waited for a dial that was already old"),
    KeptSeed(seed: 4_100_029_569, found: "a reset destroyed a refusal: 502 for a POST, rightly"),
    KeptSeed(seed: 5_000_007_241, found: "the last client's end closed what was being closed"),
    KeptSeed(seed: 5_100_015_047, found: "a lost delivery seemed to be older than its request"),
    KeptSeed(seed: 5_100_034_377, found: "a backend that rests within a head is accused, rightly"),
    KeptSeed(seed: 5_100_049_587, found: "a connection that waits for a body's rest isn't idle"),
    KeptSeed(seed: 5_000_017_956, found: "a warning waited behind a response that took long"),
    KeptSeed(seed: 5_000_048_110, found: "a body behind an early 413 was discarded, not held"),
    KeptSeed(seed: 7_000_069_394, found: "a backend that asks for calm costs an attempt"),
    KeptSeed(seed: 1030, found: "the PING of a drain waited behind a response, and ended it"),
    KeptSeed(seed: 6_000_017_110, found: "a large head did not arrive before its time was over"),
    KeptSeed(seed: 6_000_047_221, found: "one connection with five streams ejected its backend"),
    KeptSeed(seed: 6_000_054_703, found: "a clock jump ended an attempt that was not slow"),
    KeptSeed(seed: 4_100_043_789, found: "a client rested before it read a GOAWAY"),
    KeptSeed(seed: 790_971_016, found: "a connection was reset within its preface"),
    KeptSeed(seed: 8_000_001_073, found: "a retry waited behind a connection that took nothing"),
    KeptSeed(seed: 8_000_011_591, found: "a body was longer than announced, by a later frame"),
    KeptSeed(seed: 2_000_000_621, found: "a refused PATCH was not kept for another attempt"),
  ]

  /// New ones come here.
  static let withTCP = [
    KeptSeed(seed: 5_027, found: "a FIN after a silence ended both sides at once"),
    KeptSeed(seed: 5_012, found: "a backend that finished before it said who it is, rightly"),
    KeptSeed(seed: 31_388, found: "a client's reset became the end of a part of its bytes"),
    KeptSeed(seed: 32_084, found: "a reload took the listener of a connection, which got a FIN"),
    KeptSeed(seed: 8_200_015_704, found: "the end of a drain made a FIN of a reset that waited"),
    KeptSeed(seed: 8_200_022_022, found: "so did a stop"),
    KeptSeed(seed: 1_150_715_858, found: "a stop made a FIN for a client that had no backend yet"),
  ]
}
