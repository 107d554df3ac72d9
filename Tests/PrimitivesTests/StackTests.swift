// Stack: last in, first out, and never more than its capacity.

import Primitives
import Testing

@Suite struct StackTests {
  @Test func elementsComeBackInReverse() {
    var stack = Stack<Int>(capacity: 3)
    for number in 1...3 { stack.push(number) }
    let popped = [stack.pop(), stack.pop(), stack.pop(), stack.pop()]
    #expect(popped == [3, 2, 1, nil])
  }

  @Test func whatExceedsTheCapacityIsDestroyed() {
    final class Token {}
    var stack = Stack<Token>(capacity: 1)
    stack.push(Token())
    weak let extra: Token? = {
      let token = Token()
      stack.push(token)
      return token
    }()
    let count = stack.count
    #expect(count == 1 && extra == nil)
  }

  @Test func theStackDestroysWhatItHolds() {
    final class Token {}
    weak var held: Token?
    do {
      var stack = Stack<Token>(capacity: 2)
      let token = Token()
      held = token
      stack.push(token)
    }
    #expect(held == nil)
  }
}
