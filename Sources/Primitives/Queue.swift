// First in, first out, over one array that is reused.
//
// Taken elements leave a gap at the front. It is closed when it is the larger part, so each element
// is moved about once. The memory is kept: in steady state nothing is allocated.

/// A growable queue of small values.
public struct Queue<Element> {
  private var elements: [Element] = []
  private var start = 0

  public init() {}

  public var count: Int { elements.count - start }
  public var isEmpty: Bool { start == elements.count }
  public var first: Element? { isEmpty ? nil : elements[start] }

  public mutating func append(_ element: Element) { elements.append(element) }

  public mutating func popFirst() -> Element? {
    guard start < elements.count else { return nil }
    let element = elements[start]
    start += 1
    if start == elements.count {
      elements.removeAll(keepingCapacity: true)
      start = 0
    } else if start >= 64 && start * 2 > elements.count {
      elements.removeFirst(start)
      start = 0
    }
    return element
  }
}

extension Queue: Sendable where Element: Sendable {}
