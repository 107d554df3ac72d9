// The fields of one message: one block of text, and a list of slices of it.
//
// A codec copies the text of a whole head into the block and lists the field lines that it found.
// After that, a field can only be removed (it is marked) or appended (its line goes to the end of
// the text). So nothing is moved, the order stays, and an encoder copies neighbouring fields as one
// run of bytes. A worker has one block and resets it for each message, which keeps the memory: in
// steady state nothing is allocated.
//
// Each listed field has one line of the text, `name ":" OWS value OWS CRLF`, the form of HTTP/1.
// Codecs of other versions read only `name` and `value`.

public import Primitives

/// Bytes of a `FieldBlock`, by position.
public struct Slice: Equatable, Sendable {
  public let start: UInt32
  public let count: UInt32

  public init(start: UInt32, count: UInt32) {
    self.start = start
    self.count = count
  }

  public init(_ range: Range<Int>) {
    self.init(start: UInt32(range.lowerBound), count: UInt32(range.count))
  }

  public static let empty = Slice(start: 0, count: 0)

  public var isEmpty: Bool { count == 0 }
  @inlinable @inline(__always)
  public var range: Range<Int> { Int(start)..<(Int(start) + Int(count)) }
}

/// One field line.
public struct Field: Sendable {
  public let name: Slice
  /// Without the white space around it.
  public let value: Slice
  /// The position after the line's CRLF.
  fileprivate let lineEnd: UInt32
  public let known: KnownField?
  /// The field is no longer part of the message.
  public fileprivate(set) var isRemoved = false
  /// The sender asked that no hop stores the value in a compression table (RFC 7541 6.2.3). The
  /// next hop must be told so too.
  public fileprivate(set) var isNeverIndexed = false

  /// The whole line with its CRLF.
  public var line: Slice { Slice(start: name.start, count: lineEnd - name.start) }
}

public struct FieldBlock: ~Copyable {
  // Inlinable for codecs and stages that loop over all fields.
  @usableFromInline internal var text = ByteBuffer()
  @usableFromInline internal var fields: [Field] = []
  /// Every known field that was ever listed. Removing a field doesn't clear its bit.
  @usableFromInline internal var seen: KnownFieldSet = []
  /// Those of `seen` that may be listed more than once.
  private var repeated: KnownFieldSet = []
  /// For each field of `seen`, the index of the first one that is listed. Where the name is not in
  /// `repeated`, all others of this name are removed.
  private var firstIndices = FixedTable<UInt32>(repeating: 0, count: KnownField.countMax)
  /// Whether a listed name contains more than letters, digits and hyphens. Hardly any client sends
  /// one.
  private var hasOddName = false
  /// The first letters of the names that are not a `KnownField`.
  private var unknownInitials = FieldInitials()
  /// The field that is being added: the start of its name and of its value.
  private var open: (known: KnownField, name: Int, value: Int)? = nil

  public init() {}

  /// A copy of the fields, without spare memory.
  public init(copying source: borrowing FieldBlock) {
    text.reserve(source.text.count)
    fields.reserveCapacity(source.count)
    for index in 0..<source.count where !source[index].isRemoved {
      let field = source[index]
      add(
        field.known, name: source.bytes(of: field.name), value: source.bytes(of: field.value),
        isNeverIndexed: field.isNeverIndexed)
    }
  }

  /// Empties the block, but keeps the memory.
  public mutating func reset() {
    text.removeAll()
    fields.removeAll(keepingCapacity: true)
    seen = []
    repeated = []
    hasOddName = false
    unknownInitials = FieldInitials()
    open = nil
  }

  /// Memory in bytes.
  public var storedByteCount: Int {
    text.capacity + fields.capacity * MemoryLayout<Field>.stride
  }

  // MARK: Reading

  /// The number of listed fields, including the removed ones.
  @inlinable
  public var count: Int { fields.count }

  @inlinable
  public subscript(index: Int) -> Field { fields[index] }

  @_lifetime(borrow self)
  @inlinable @inline(__always)
  public func bytes(of slice: Slice) -> Span<UInt8> {
    text.bytes.extracting(slice.range)
  }

  /// A copy, for rare cases: it allocates.
  public func array(_ slice: Slice) -> [UInt8] { text.array(slice.range) }

  /// The index of the first field of this name. This costs the same however many fields there are,
  /// as nearly every name occurs once.
  @inlinable @inline(__always)
  public func firstIndex(of known: KnownField) -> Int? {
    seen.contains(known) ? firstListed(known) : nil
  }

  @usableFromInline
  internal func firstListed(_ known: KnownField) -> Int? {
    let index = Int(firstIndices[Int(known.rawValue)])
    return fields[index].isRemoved ? nextIndex(of: known, after: index) : index
  }

  /// The index of the next field of this name. A walk from `firstIndex` to nil is linear.
  public func nextIndex(of known: KnownField, after index: Int) -> Int? {
    guard repeated.contains(known) else { return nil }
    var next = index + 1
    while next < fields.count {
      if fields[next].known == known && !fields[next].isRemoved { return next }
      next += 1
    }
    return nil
  }

  /// The value of the first field with this name.
  @inlinable @inline(__always)
  public func first(_ known: KnownField) -> Slice? {
    guard let index = firstIndex(of: known) else { return nil }
    return fields[index].value
  }

  public func first(named name: Span<UInt8>) -> Slice? {
    for field in fields where !field.isRemoved && bytes(of: field.name).equalsIgnoringCase(name) {
      return field.value
    }
    return nil
  }

  @inlinable @inline(__always)
  public func contains(_ known: KnownField) -> Bool { firstIndex(of: known) != nil }

  /// Whether a list field such as Connection contains this element, in any of its lines and in any
  /// letter case.
  public func contains(token: StaticString, in known: KnownField) -> Bool {
    var next = firstIndex(of: known)
    while let index = next {
      var elements = ListElements(fields[index].value)
      while let element = elements.next(in: self) {
        if bytes(of: element).equalsIgnoringCase(token.bytes) { return true }
      }
      next = nextIndex(of: known, after: index)
    }
    return false
  }

  // MARK: Removing

  public mutating func remove(at index: Int) { fields[index].isRemoved = true }

  public mutating func removeAll(of known: KnownField) {
    var next = firstIndex(of: known)
    while let index = next {
      fields[index].isRemoved = true
      next = nextIndex(of: known, after: index)
    }
  }

  public mutating func removeAll(of known: KnownFieldSet) {
    var present = seen.intersection(known)
    if repeated.isDisjoint(with: present) {
      while let field = present.popFirst() {
        fields[Int(firstIndices[Int(field.rawValue)])].isRemoved = true
      }
    } else {
      for index in fields.indices {
        if let field = fields[index].known, known.contains(field) { fields[index].isRemoved = true }
      }
    }
  }

  public mutating func removeAll(named name: Span<UInt8>) {
    for index in fields.indices where bytes(of: fields[index].name).equalsIgnoringCase(name) {
      fields[index].isRemoved = true
    }
  }

  /// Removes every field that the list field `known` names, such as those in Connection, except the
  /// ones to keep. True if it names a field that is not a `KnownField`, whether or not it is
  /// present. `close` is not a field.
  public mutating func removeAll(
    namedIn known: KnownField, except kept: KnownFieldSet, _ keptNames: FieldNames
  ) -> Bool {
    guard seen.contains(known) else { return false }
    var named: KnownFieldSet = []
    var others: FieldsByName?
    var namesOthers = false
    var next = firstIndex(of: known)
    while let index = next {
      next = nextIndex(of: known, after: index)
      var elements = ListElements(fields[index].value)
      while let element = elements.next(in: self) {
        if let field = KnownField(bytes(of: element)) {
          named.insert(field)
        } else if !bytes(of: element).equalsIgnoringCase(("close" as StaticString).bytes) {
          namesOthers = true
          if keptNames.contains(bytes(of: element)) { continue }
          var rest = others.take() ?? unknownFields
          while let field = rest.take(
            bytes(of: element),
            where: { bytes(of: fields[$0].name).equalsIgnoringCase(bytes(of: element)) })
          {
            fields[field].isRemoved = true
          }
          others = rest
        }
      }
    }
    named.subtract(kept)
    removeAll(of: named)
    return namesOthers
  }

  /// The fields that are no `KnownField`, by name.
  private var unknownFields: FieldsByName {
    var unknown = FieldsByName(count: fields.count)
    for index in fields.indices where fields[index].known == nil && !fields[index].isRemoved {
      unknown.insert(index, named: bytes(of: fields[index].name))
    }
    return unknown
  }

  /// Removes the fields with this name and, among the first `count` fields, those with a similar
  /// name (`isAlike`).
  public mutating func removeAll(named name: Span<UInt8>, alikeAmongFirst count: Int) {
    for index in fields.indices where Int(fields[index].name.count) == name.count {
      let isMeant =
        index < count
        ? bytes(of: fields[index].name).isAlike(name)
        : bytes(of: fields[index].name).equalsIgnoringCase(name)
      if isMeant { fields[index].isRemoved = true }
    }
  }

  /// Removes the fields whose names look like one of these, but not these themselves. CGI and WSGI
  /// backends can't tell them apart, so a client that may not set X-Forwarded-For may not set
  /// X_Forwarded_For either.
  public mutating func removeLookalikes(of known: KnownFieldSet) {
    guard hasOddName else { return }
    for field in KnownField.allCases where known.contains(field) {
      for index in fields.indices
      where fields[index].known == nil
        && bytes(of: fields[index].name).isAlike(field.name.bytes)
      {
        fields[index].isRemoved = true
      }
    }
  }

  /// Removes the fields with these names, and those with similar names.
  public mutating func removeAll(of names: FieldNames) {
    if unknownInitials.isDisjoint(with: names.initials) { return }
    for index in fields.indices where fields[index].known == nil {
      let isMeant = names.containsAlike(bytes(of: fields[index].name))
      if isMeant { fields[index].isRemoved = true }
    }
  }

  /// Removes the fields with names that are similar to these, but not these themselves.
  public mutating func removeLookalikes(of names: FieldNames) {
    guard hasOddName else { return }
    for index in fields.indices where fields[index].known == nil {
      let name = fields[index].name
      let isLookalike = names.containsAlike(bytes(of: name)) && !names.contains(bytes(of: name))
      if isLookalike { fields[index].isRemoved = true }
    }
  }

  /// Removes the fields with these names if `isMeant` is true for their value.
  public mutating func removeAll(
    of names: FieldNames, whereValue isMeant: (Span<UInt8>) -> Bool
  ) {
    if unknownInitials.isDisjoint(with: names.initials) { return }
    for index in fields.indices where fields[index].known == nil {
      let isRemoved =
        names.contains(bytes(of: fields[index].name)) && isMeant(bytes(of: fields[index].value))
      if isRemoved { fields[index].isRemoved = true }
    }
  }

  // MARK: Appending

  /// Appends a field. Returns false, and does nothing, when the name is no token or the value
  /// contains a control character: a backend could read such a line as two.
  @discardableResult
  public mutating func append(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
    guard name.isToken, value.isFieldValue else { return false }
    appendLine(KnownField(name), name, value)
    return true
  }

  @discardableResult
  public mutating func append(_ known: KnownField, _ value: Span<UInt8>) -> Bool {
    guard value.isFieldValue else { return false }
    appendLine(known, known.name.bytes, value)
    return true
  }

  /// Literals come from our own code and need no check.
  public mutating func append(_ known: KnownField, _ value: StaticString) {
    appendLine(known, known.name.bytes, value.bytes)
  }

  /// Opens a field. `appendValue` adds to its value, `endField` closes it.
  public mutating func beginField(_ known: KnownField) {
    endField()
    let start = text.count
    text.append(known.name.bytes)
    text.append(": ")
    open = (known, start, text.count)
  }

  /// Controls become spaces, so that a value can't end the line.
  public mutating func appendValue(_ piece: Span<UInt8>) {
    if piece.isFieldValue { return text.append(piece) }
    for index in 0..<piece.count {
      text.append(piece[index] < 0x20 || piece[index] == 0x7F ? 0x20 : piece[index])
    }
  }

  @inlinable @inline(__always)
  public mutating func appendValue(_ piece: StaticString) { text.append(piece) }

  /// Copies bytes of this block, such as an earlier value.
  public mutating func appendValue(_ piece: Slice) {
    text.appendOwn(piece.range)
  }

  public mutating func appendValue(decimal number: UInt64) { text.append(decimal: number) }

  /// All 16 digits, in hexadecimal.
  public mutating func appendValue(digits number: UInt64) { text.append(digits: number) }

  public mutating func endField() {
    guard let line = open else { return }
    open = nil
    let value = Slice(line.value..<text.count)
    text.append("\r\n")
    // A colon and a space follow the name.
    list(line.known, name: Slice(line.name..<(line.value - 2)), value: value, lineEnd: text.count)
  }

  /// Stores bytes that are no field in the block, such as a new path.
  public mutating func store(_ bytes: Span<UInt8>) -> Slice {
    endField()
    let start = text.count
    text.append(bytes)
    return Slice(start..<text.count)
  }

  /// Stores the address only. The caller adds brackets and quotes.
  public mutating func store(_ address: IPAddress) -> Slice {
    endField()
    let start = text.count
    address.write(to: &text)
    return Slice(start..<text.count)
  }

  // MARK: For codecs

  /// Copies the text of a head into the empty block; then `list` says where its fields are.
  public mutating func adopt(_ head: Span<UInt8>) {
    reset()
    text.append(head)
  }

  /// Lists a field line of the adopted text: the name, the colon directly after it, the value
  /// between blanks, and a CRLF before `lineEnd`. The codec has checked all of this, and passes
  /// `known` if the name is a known one.
  public mutating func list(_ known: KnownField?, name: Slice, value: Slice, lineEnd: Int) {
    if let known {
      note(known)
    } else {
      noteUnknown(name)
    }
    fields.append(Field(name: name, value: value, lineEnd: UInt32(lineEnd), known: known))
  }

  /// Appends a field that the codec has decoded and that has no line in the text. The codec has
  /// checked that the name is a token and that the value contains no control except tab, and passes
  /// `known` if the name is a known one.
  public mutating func add(
    _ known: KnownField?, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {
    appendLine(known, name, value)
    if isNeverIndexed { fields[fields.count - 1].isNeverIndexed = true }
  }

  /// Moves the colon of a line to the end of its name, over the blanks between them.
  public mutating func closeUp(name: Slice, colon: Int) {
    var bytes = text.mutableBytes
    bytes[colon] = 0x20
    bytes[name.range.upperBound] = 0x3A
  }

  /// Overwrites bytes of the adopted text with spaces, such as the line end of a folded line.
  public mutating func blank(_ slice: Slice) {
    var bytes = text.mutableBytes
    for index in slice.range { bytes[index] = 0x20 }
  }

  // MARK: Private

  private mutating func appendLine(
    _ known: KnownField?, _ name: Span<UInt8>, _ value: Span<UInt8>
  ) {
    endField()
    let start = text.count
    text.append(name)
    text.append(": ")
    let valueStart = text.count
    text.append(value)
    let valueEnd = text.count
    text.append("\r\n")
    list(
      known, name: Slice(start..<(start + name.count)), value: Slice(valueStart..<valueEnd),
      lineEnd: text.count)
  }

  /// The next line that is listed holds this field.
  @inline(__always)
  private mutating func note(_ known: KnownField) {
    let slot = Int(known.rawValue)
    if seen.contains(known)
      && (repeated.contains(known) || !fields[Int(firstIndices[slot])].isRemoved)
    {
      repeated.insert(known)
    } else {
      seen.insert(known)
      firstIndices[slot] = UInt32(truncatingIfNeeded: fields.count)
    }
  }

  @inline(never)
  private mutating func noteUnknown(_ name: Slice) {
    if name.isEmpty { return }
    let initial = text.bytes[Int(name.start)]
    unknownInitials.insert(initial)
    if !hasOddName && Self.isOdd(name, in: text) { hasOddName = true }
  }

  private static func isOdd(_ name: Slice, in text: borrowing ByteBuffer) -> Bool {
    let bytes = text.bytes.extracting(name.range)
    for index in 0..<bytes.count where !bytes[index].isPlainNameByte { return true }
    return false
  }
}
