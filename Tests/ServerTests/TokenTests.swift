// Token: a kind and a handle are the same after packing into 64 bits.

import Primitives
import Testing

@testable import Server

@Suite struct TokenTests {
  private static let kinds: [Token.Kind] = [
    .listener, .connection, .exchange, .probe, .worker,
  ]

  @Test(arguments: kinds) func everyHandleComesBackAsItWas(kind: Token.Kind) {
    for index in [0, 1, 0xFFFF, UInt32.max] {
      for generation in [0, 1, 0x80_0000, 0xFF_FFFF] as [UInt32] {
        let token = Token(kind, Handle(index: index, generation: generation))
        #expect(Token(packed: token.packed) == token)
      }
    }
  }

  @Test func kindsAndHandlesDoNotMeet() {
    let handles = [
      Handle(index: 0, generation: 0), Handle(index: .max, generation: 0),
      Handle(index: 0, generation: 0xFF_FFFF), Handle(index: .max, generation: 0xFF_FFFF),
    ]
    let packed = Self.kinds.flatMap { kind in handles.map { Token(kind, $0).packed } }
    #expect(Set(packed).count == Self.kinds.count * handles.count)
  }

  @Test func whatIsNoTokenIsRefused() {
    #expect(Token(packed: 0) == nil)
    #expect(Token(packed: 8 << 56) == nil && Token(packed: .max) == nil)
  }

  @Test func theTimersOfAWorkerAreDistinguished() {
    let timers: [WorkerTimer] = [.resumeAccepting, .endDrain, .checkHealth]
    for timer in timers {
      let token = Token(packed: timer.payload)
      #expect(token?.kind == .worker)
      #expect(token.flatMap { WorkerTimer(rawValue: $0.handle.index) } == timer)
    }
  }
}
