// A value that a thread gets at its start and doesn't keep.

import Testing

@testable import Reactor

@Suite struct ParcelTests {
  private final class Content: Sendable {}

  @Test func `a thread that has taken what it was given doesn't keep it`() throws {
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

  @Test func `what was taken is there no more`() {
    let parcel = Parcel(7)
    #expect(parcel.take() == 7)
    #expect(parcel.take() == nil)
  }
}
