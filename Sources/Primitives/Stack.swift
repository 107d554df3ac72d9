// A bounded stack for values that can't be copied, which the standard library's Array can't store.

/// A last-in, first-out store of at most `capacity` elements.
@safe public struct Stack<Element: ~Copyable>: ~Copyable {
  private let base: UnsafeMutablePointer<Element>
  private let capacity: Int
  public private(set) var count = 0

  public init(capacity: Int) {
    unsafe base = .allocate(capacity: capacity)
    self.capacity = capacity
  }

  deinit {
    unsafe base.deinitialize(count: count)
    unsafe base.deallocate()
  }

  /// Stores `element`, or destroys it when the stack is full.
  public mutating func push(_ element: consuming Element) {
    if count == capacity { return }
    unsafe (base + count).initialize(to: element)
    count += 1
  }

  public mutating func pop() -> Element? {
    if count == 0 { return nil }
    count -= 1
    return unsafe (base + count).move()
  }
}
