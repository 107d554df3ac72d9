// From bytes and flags to a configuration: read, override by flags, decode, validate.

extension Configuration {
  /// The result of reading a configuration.
  public struct Reading: Sendable {
    /// Nil if any diagnostic is an error.
    public let configuration: Configuration?
    /// All errors, or if there are none all warnings. Those about flags come first, the others in
    /// the order of the text.
    public let diagnostics: [Diagnostic]
    /// What could be read, with defaults for the rest, even if there are errors. Only for further
    /// checks of files and names; never run it.
    public let draft: Configuration?
    public let places: Places
    /// Warnings that are left out, because they may only be consequences of an error.
    public let heldBackCount: Int

    /// The same with further diagnostics.
    public func adding(_ further: [Diagnostic]) -> Reading {
      let all = diagnostics + further
      let hasErrors = all.contains { $0.severity == .error }
      return Reading(
        configuration: hasErrors ? nil : configuration, diagnostics: all.sorted(), draft: draft,
        places: places, heldBackCount: heldBackCount)
    }
  }

  /// Reads the text of a configuration file, and applies `overrides`.
  ///
  /// - Parameters:
  ///   - bytes: the text; nil if there is no file.
  ///   - file: its path, as diagnostics show it. Relative paths in the text start at its directory.
  public static func read(
    _ bytes: [UInt8]?, file: String = "config.json", overrides: Overrides = Overrides()
  ) -> Reading {
    let source = SourceText(file: bytes == nil ? "" : file, bytes: bytes ?? [])
    var (document, problems) =
      bytes.map(JSONReader.read) ?? (JSON(.object([])), [])
    var decoder = Decoder(source: source, isPartial: !problems.isEmpty)
    for problem in problems {
      decoder.report(problem.message, at: .offset(problem.offset), key: "")
    }
    overrides.apply(to: &document, &decoder)
    let decoded = decoder.document(document, as: Configuration.self)
    var complete: Configuration?
    if var configuration = decoded, problems.isEmpty, !decoder.isFull {
      configuration.complete(&decoder)
      if overrides.demo && !decoder.hasErrors { configuration.addDemoBackends(&decoder) }
      complete = configuration
    }
    // With an error, a warning may only be its consequence.
    let hasErrors = decoder.hasErrors
    let relevant = decoder.diagnostics.filter { $0.severity == .error || !hasErrors }
    return Reading(
      configuration: hasErrors ? nil : complete, diagnostics: relevant.sorted(),
      draft: complete ?? decoded, places: Places(decoder),
      heldBackCount: decoder.diagnostics.count - relevant.count)
  }
}

extension [Diagnostic] {
  /// In the order of the text, without duplicates.
  fileprivate func sorted() -> [Diagnostic] {
    func position(_ diagnostic: Diagnostic) -> (Int, Int) {
      switch diagnostic.place {
      case .file(_, let line, let column): (line, column)
      case .flag: (0, 0)
      case .nowhere: (0, 1)
      }
    }
    var seen: Set<Diagnostic> = []
    let indexed = filter { seen.insert($0).inserted }.enumerated()
    return indexed.sorted {
      (position($0.element).0, position($0.element).1, $0.offset)
        < (position($1.element).0, position($1.element).1, $1.offset)
    }.map(\.element)
  }
}
