// A value that a thread gets at its start and doesn't keep.

import Testing

@testable import Reactor

@Suite struct ParcelTests {
  private final class Content: Sendable {}

  @Test func `a thread doesn't keep a value after it has taken it`() throws {
    let (taken, end) = (try WakeUp(), try WakeUp())
    weak var kept: Content?
    let thread: Thread
    do {
      let content = Content()
      kept = content
      let parcel = Parcel(content)
      thread = try Thread(name: "parcel") {
        _ = parcel.take()
        taken.signal()
        end.wait()
      }
    }
    taken.wait()
    #expect(kept == nil)
    end.signal()
    thread.join()
  }

  @Test func `a value can be taken only once`() {
    let parcel = Parcel(7)
    #expect(parcel.take() == 7)
    #expect(parcel.take() == nil)
  }
}
