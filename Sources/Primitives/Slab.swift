// Storage for connections, exchanges and the like: one block of slots, accessed by handles.
//
// A handle contains a slot number and the generation of the slot's element. Events, timers and
// other objects store handles and no references, so a late event for a closed connection finds no
// element, and not the slot's next one. Growing moves the elements, so addresses must not be
// stored.

/// Identifies one element of a `Slab`. It fits into 56 bits, so that the reactor can pack it
/// together with a kind into the 64 bits that epoll returns.
public struct Handle: Hashable, Sendable {
  public let index: UInt32
  /// Odd while the slot is in use; only the low 24 bits are stored.
  public let generation: UInt32

  @inlinable
  public init(index: UInt32, generation: UInt32) {
    self.index = index
    self.generation = generation & 0xFF_FFFF
  }

  public init(packed: UInt64) {
    self.init(
      index: UInt32(truncatingIfNeeded: packed),
      generation: UInt32(truncatingIfNeeded: packed >> 32))
  }

  public var packed: UInt64 { UInt64(index) | UInt64(generation) << 32 }

  /// Matches no element in any slab.
  @inlinable
  public static var none: Handle { Handle(index: .max, generation: 0) }
}

/// A growing block of slots for values that can't be copied, addressed by `Handle`.
@safe public struct Slab<Element: ~Copyable>: ~Copyable {
  @usableFromInline internal var elements: UnsafeMutablePointer<Element>
  @usableFromInline internal var generations: UnsafeMutablePointer<UInt32>
  @usableFromInline internal var capacity: Int
  /// Slots below this one have been used at least once.
  @usableFromInline internal var usedCount = 0
  @usableFromInline internal var free: [UInt32] = []
  /// How many slots are in use.
  @usableFromInline internal var takenCount = 0
  @inlinable public var count: Int { takenCount }
  @inlinable public var isEmpty: Bool { takenCount == 0 }

  public init(capacity: Int = 64) {
    precondition(capacity > 0)
    self.capacity = capacity
    unsafe elements = .allocate(capacity: capacity)
    unsafe generations = .allocate(capacity: capacity)
    free.reserveCapacity(capacity)
  }

  deinit {
    for slot in 0..<usedCount where unsafe generations[slot] & 1 == 1 {
      unsafe (elements + slot).deinitialize(count: 1)
    }
    unsafe elements.deallocate()
    unsafe generations.deallocate()
  }

  @inlinable @inline(__always)
  public mutating func insert(_ element: consuming Element) -> Handle {
    let slot: Int
    if let recycled = free.popLast() {
      slot = Int(recycled)
    } else {
      if usedCount == capacity { grow() }
      slot = usedCount
      usedCount += 1
      unsafe generations[slot] = 0
    }
    let generation = unsafe (generations[slot] &+ 1) & 0xFF_FFFF
    unsafe generations[slot] = generation
    unsafe (elements + slot).initialize(to: element)
    takenCount += 1
    return Handle(index: UInt32(slot), generation: generation)
  }

  /// The handle that the next `insert` will return, for code that needs it before.
  public var nextHandle: Handle {
    guard let slot = free.last else { return Handle(index: UInt32(usedCount), generation: 1) }
    return Handle(index: slot, generation: unsafe generations[Int(slot)] &+ 1)
  }

  /// Removes and returns the element. The handle must be live.
  @discardableResult
  public mutating func remove(_ handle: Handle) -> Element {
    precondition(contains(handle), "removing a tenant that is gone")
    vacate(handle)
    return unsafe (elements + Int(handle.index)).move()
  }

  /// Removes and destroys the element. The handle must be live.
  public mutating func drop(_ handle: Handle) {
    precondition(contains(handle), "removing a tenant that is gone")
    vacate(handle)
    unsafe (elements + Int(handle.index)).deinitialize(count: 1)
  }

  private mutating func vacate(_ handle: Handle) {
    let slot = Int(handle.index)
    unsafe generations[slot] = (generations[slot] &+ 1) & 0xFF_FFFF
    free.append(handle.index)
    takenCount -= 1
  }

  @inlinable @inline(__always)
  public func contains(_ handle: Handle) -> Bool {
    let slot = Int(handle.index)
    guard slot < usedCount, handle.generation & 1 == 1 else { return false }
    return unsafe generations[slot] == handle.generation
  }

  /// The element of `handle`, which must be live. Call `contains` first if the element may be gone.
  public subscript(handle: Handle) -> Element {
    @inlinable @inline(__always)
    _read {
      precondition(contains(handle), "reaching for a tenant that is gone")
      yield unsafe elements[Int(handle.index)]
    }
    @inlinable @inline(__always)
    _modify {
      precondition(contains(handle), "reaching for a tenant that is gone")
      yield unsafe &elements[Int(handle.index)]
    }
  }

  /// Slots below this number may be in use; with `handle(at:)` this iterates over all elements.
  public var slotCount: Int { usedCount }

  /// The handle of the element in `slot`, or nil when the slot is free.
  public func handle(at slot: Int) -> Handle? {
    precondition(slot >= 0 && slot < usedCount)
    let generation = unsafe generations[slot]
    return generation & 1 == 1 ? Handle(index: UInt32(slot), generation: generation) : nil
  }

  @usableFromInline
  internal mutating func grow() {
    let larger = capacity * 2
    let newElements = UnsafeMutablePointer<Element>.allocate(capacity: larger)
    let newGenerations = UnsafeMutablePointer<UInt32>.allocate(capacity: larger)
    for slot in 0..<usedCount where unsafe generations[slot] & 1 == 1 {
      unsafe (newElements + slot).moveInitialize(from: elements + slot, count: 1)
    }
    unsafe newGenerations.update(from: generations, count: usedCount)
    unsafe elements.deallocate()
    unsafe generations.deallocate()
    unsafe elements = newElements
    unsafe generations = newGenerations
    capacity = larger
    free.reserveCapacity(larger)
  }
}
