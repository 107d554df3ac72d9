// The examples of RFC 7541 appendix C: every byte, and the size of the table.

import Testing

@testable import HTTP2

@Suite struct HPACKVectorTests {
  private func decoded(
    _ blocks: [String], tableByteCountMax: Int = 4096
  ) throws -> [(fields: String, size: Int)] {
    var bench = DecoderBench(tableByteCountMax: tableByteCountMax)
    var result: [(fields: String, size: Int)] = []
    for block in blocks {
      let fields = bench.outcome(bytes(hex: block))
      result.append((fields, bench.decoder.tableByteCount))
    }
    return result
  }

  @Test(arguments: [
    (10, UInt8(5), "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"),
  ])
  func c1Integers(value: Int, prefix: UInt8, encoded: String) throws {
    let input = bytes(hex: encoded)
    var position = 0
    #expect(try PrefixInteger.decode(input.span, &position, prefixBits: prefix) == value)
    #expect(position == input.count)
    #expect(Wire.integer(value, prefix: Int(prefix), pattern: 0) == input)
  }

  @Test func c2Representations() throws {
    var results = try decoded(["400a637573746f6d2d6b65790d637573746f6d2d686561646572"])
    #expect(results[0] == ("custom-key: custom-header", 55))
    results = try decoded(["040c2f73616d706c652f70617468"])
    #expect(results[0] == (":path: /sample/path", 0))
    results = try decoded(["100870617373776f726406736563726574"])
    #expect(results[0] == ("password: secret (never)", 0))
    results = try decoded(["82"])
    #expect(results[0] == (":method: GET", 0))
  }

  private static let requests = [
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n"
      + "custom-key: custom-value",
  ]

  @Test(arguments: [
    [
      "828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ],
    [
      "828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
  ])
  func c3AndC4Requests(blocks: [String]) throws {
    let results = try decoded(blocks)
    #expect(results.map(\.fields) == Self.requests)
    #expect(results.map(\.size) == [57, 110, 164])
  }

  private static let responses = [
    ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
      + "location: https://www.example.com",
    ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
      + "location: https://www.example.com",
    ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n"
      + "location: https://www.example.com\ncontent-encoding: gzip\n"
      + "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
  ]

  @Test(arguments: [
    [
      """
      4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54
      6e1768747470733a2f2f7777772e6578616d706c652e636f6d
      """, "4803333037c1c0bf",
      """
      88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f
      3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076
      657273696f6e3d31
      """,
    ],
    [
      """
      488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f
      0b97c8e9ae82ae43d3
      """, "4883640effc1c0bf",
      """
      88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335df
      dfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007
      """,
    ],
  ])
  func c5AndC6ResponsesWithEviction(blocks: [String]) throws {
    let results = try decoded(blocks, tableByteCountMax: 256)
    #expect(results.map(\.fields) == Self.responses)
    #expect(results.map(\.size) == [222, 222, 215])
  }
}
