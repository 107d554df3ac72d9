// The fields of one message: one block of text, and a list of slices of it.
//
// A codec puts a whole head's text into the block and lists the field lines it found; everybody
// after it edits in exactly two ways: a field is marked as removed, or a new line is appended
// behind the text. So a message is never shuffled, the original order stays, and an encoder copies
// neighbouring fields as one run of bytes. A worker keeps one block and resets it for each message,
// which keeps the memory: in steady state nothing is allocated.
//
// Each listed field owns one line of the text, `name ":" OWS value OWS CRLF`, the form of HTTP/1. A
// codec of another version reads `name` and `value` and never minds the rest.

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
  /// Behind the line's CRLF.
  fileprivate let lineEnd: UInt32
  public let known: KnownField?
  /// The field is not part of the message any more.
  public fileprivate(set) var isRemoved = false
  /// Its sender asked that no hop keeps the value in a compression table (RFC 7541 6.2.3), which
  /// the next hop has to be told as well.
  public fileprivate(set) var isNeverIndexed = false

  /// The whole line with its CRLF.
  public var line: Slice { Slice(start: name.start, count: lineEnd - name.start) }
}

public struct FieldBlock: ~Copyable {
  // Inlinable where a codec or a stage walks over all fields.
  @usableFromInline internal var text = ByteBuffer()
  @usableFromInline internal var fields: [Field] = []
  /// Every known field that was ever listed; a removal doesn't clear its bit.
  private var seen: KnownFieldSet = []
  /// Was a name ever listed that holds more than letters, digits and hyphens? Nearly no client
  /// sends one.
  private var hasOddName = false
  /// With which letters the names begin that are no `KnownField`.
  private var unknownInitials = FieldInitials()
  /// The line under construction: where its name and its value begin.
  private var open: (known: KnownField, name: Int, value: Int)? = nil

  public init() {}

  /// Forgets everything but the memory.
  public mutating func reset() {
    text.removeAll()
    fields.removeAll(keepingCapacity: true)
    seen = []
    hasOddName = false
    unknownInitials = FieldInitials()
    open = nil
  }

  // MARK: Reading

  /// How many fields are listed, the removed ones included.
  @inlinable
  public var count: Int { fields.count }

  @inlinable
  public subscript(index: Int) -> Field { fields[index] }

  @_lifetime(borrow self)
  @inlinable @inline(__always)
  public func bytes(of slice: Slice) -> Span<UInt8> {
    text.bytes.extracting(slice.range)
  }

  /// A copy, for what is rare. It allocates.
  public func array(_ slice: Slice) -> [UInt8] { text.array(slice.range) }

  /// The value of the first field of this name.
  public func first(_ known: KnownField) -> Slice? {
    guard seen.contains(known) else { return nil }
    for field in fields where field.known == known && !field.isRemoved { return field.value }
    return nil
  }

  public func first(named name: Span<UInt8>) -> Slice? {
    for field in fields where !field.isRemoved && bytes(of: field.name).equalsIgnoringCase(name) {
      return field.value
    }
    return nil
  }

  public func contains(_ known: KnownField) -> Bool { first(known) != nil }

  /// Whether a list field such as Connection has this element, in any of its lines and whatever
  /// the letters' case.
  public func contains(token: StaticString, in known: KnownField) -> Bool {
    guard seen.contains(known) else { return false }
    for field in fields where field.known == known && !field.isRemoved {
      var elements = ListElements(field.value)
      while let element = elements.next(in: self) {
        if bytes(of: element).equalsIgnoringCase(token.bytes) { return true }
      }
    }
    return false
  }

  // MARK: Removing

  public mutating func remove(at index: Int) { fields[index].isRemoved = true }

  public mutating func removeAll(of known: KnownField) {
    guard seen.contains(known) else { return }
    for index in fields.indices where fields[index].known == known {
      fields[index].isRemoved = true
    }
  }

  public mutating func removeAll(of known: KnownFieldSet) {
    if seen.isDisjoint(with: known) { return }
    for index in fields.indices {
      if let field = fields[index].known, known.contains(field) { fields[index].isRemoved = true }
    }
  }

  public mutating func removeAll(named name: Span<UInt8>) {
    for index in fields.indices where bytes(of: fields[index].name).equalsIgnoringCase(name) {
      fields[index].isRemoved = true
    }
  }

  /// Removes every field that an element of the list field `known` names, such as those of
  /// Connection, but none of those to keep. True when it names any that is no `KnownField`, be it
  /// there or not; `close` is no field.
  public mutating func removeAll(
    namedIn known: KnownField, except kept: KnownFieldSet, _ keptNames: FieldNames
  ) -> Bool {
    guard seen.contains(known) else { return false }
    var named: KnownFieldSet = []
    var others: FieldsByName?
    var namesOthers = false
    for index in fields.indices where fields[index].known == known && !fields[index].isRemoved {
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

  /// Those that are no `KnownField`, by their names.
  private var unknownFields: FieldsByName {
    var unknown = FieldsByName(count: fields.count)
    for index in fields.indices where fields[index].known == nil && !fields[index].isRemoved {
      unknown.insert(index, named: bytes(of: fields[index].name))
    }
    return unknown
  }

  /// Removes the fields of this name and, among the first `count` fields, those whose names look
  /// alike (`isAlike`).
  public mutating func removeAll(named name: Span<UInt8>, alikeAmongFirst count: Int) {
    for index in fields.indices where Int(fields[index].name.count) == name.count {
      let isMeant =
        index < count
        ? bytes(of: fields[index].name).isAlike(name)
        : bytes(of: fields[index].name).equalsIgnoringCase(name)
      if isMeant { fields[index].isRemoved = true }
    }
  }

  /// Removes the fields whose names look like one of these, but not these themselves. Backends
  /// behind CGI or WSGI can't tell them apart, so a client that may not set X-Forwarded-For may not
  /// set X_Forwarded_For either.
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

  /// Removes the fields of these names and those whose names look alike.
  public mutating func removeAll(of names: FieldNames) {
    if unknownInitials.isDisjoint(with: names.initials) { return }
    for index in fields.indices where fields[index].known == nil {
      let isMeant = names.containsAlike(bytes(of: fields[index].name))
      if isMeant { fields[index].isRemoved = true }
    }
  }

  /// Removes the fields whose names look like one of these, but not these themselves.
  public mutating func removeLookalikes(of names: FieldNames) {
    guard hasOddName else { return }
    for index in fields.indices where fields[index].known == nil {
      let name = fields[index].name
      let isLookalike = names.containsAlike(bytes(of: name)) && !names.contains(bytes(of: name))
      if isLookalike { fields[index].isRemoved = true }
    }
  }

  /// Removes the fields of these names for whose values `isMeant` holds.
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

  /// Appends a field. False, and nothing happens, when the name is no token or the value holds a
  /// control: such a line could be read as two.
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

  /// A literal is ours and needs no check.
  public mutating func append(_ known: KnownField, _ value: StaticString) {
    appendLine(known, known.name.bytes, value.bytes)
  }

  /// Opens a field whose value is then built by `appendValue` and closed by `endField`.
  public mutating func beginField(_ known: KnownField) {
    endField()
    let start = text.count
    text.append(known.name.bytes)
    text.append(": ")
    open = (known, start, text.count)
  }

  /// Controls become spaces, so that no piece can end the line.
  public mutating func appendValue(_ piece: Span<UInt8>) {
    if piece.isFieldValue { return text.append(piece) }
    for index in 0..<piece.count {
      text.append(piece[index] < 0x20 || piece[index] == 0x7F ? 0x20 : piece[index])
    }
  }

  @inlinable @inline(__always)
  public mutating func appendValue(_ piece: StaticString) { text.append(piece) }

  /// Copies bytes that lie in this block, such as an earlier value.
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
    // Behind the name stand a colon and a space.
    list(line.known, name: Slice(line.name..<(line.value - 2)), value: value, lineEnd: text.count)
  }

  /// Puts bytes that are no field into the block, such as a new path.
  public mutating func store(_ bytes: Span<UInt8>) -> Slice {
    endField()
    let start = text.count
    text.append(bytes)
    return Slice(start..<text.count)
  }

  /// The address alone, for values that hold it: brackets and quotes are the caller's.
  public mutating func store(_ address: IPAddress) -> Slice {
    endField()
    let start = text.count
    address.write(to: &text)
    return Slice(start..<text.count)
  }

  // MARK: For codecs

  /// Puts the text of a head into the empty block; `list` then says where its fields are.
  public mutating func adopt(_ head: Span<UInt8>) {
    reset()
    text.append(head)
  }

  /// Lists a field line of the adopted text: the name, directly behind it the colon, then the value
  /// between blanks, and a CRLF before `lineEnd`. The codec has checked all of this, and knows the
  /// name if it is a known one.
  public mutating func list(_ known: KnownField?, name: Slice, value: Slice, lineEnd: Int) {
    if let known {
      seen.insert(known)
    } else {
      noteUnknown(name)
    }
    fields.append(Field(name: name, value: value, lineEnd: UInt32(lineEnd), known: known))
  }

  /// Appends a field that came decoded, with no line of its own. The codec has checked that the
  /// name is a token and the value holds no control but tab, and knows the name if it is a known
  /// one.
  public mutating func add(
    _ known: KnownField?, name: Span<UInt8>, value: Span<UInt8>, isNeverIndexed: Bool
  ) {
    appendLine(known, name, value)
    if isNeverIndexed { fields[fields.count - 1].isNeverIndexed = true }
  }

  /// Moves the colon of a line to the end of its name when blanks stand between them.
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
