// The reference of all keys, printed from their tables: as a JSON Schema for editors, and as
// Markdown for people. The committed docs/config.schema.json and docs/CONFIGURATION.md are this
// output; a test compares them.

/// Prints what can stand in a configuration file.
public enum Reference {
  /// In the order in which the reference shows them: from the outside in.
  static let sections: [SectionDescription] = [
    SectionDescription(Configuration.self),
    SectionDescription(Configuration.Listener.self),
    SectionDescription(Configuration.TLS.self),
    SectionDescription(Configuration.CertificateFiles.self),
    SectionDescription(Configuration.Tickets.self),
    SectionDescription(Configuration.HSTS.self),
    SectionDescription(Configuration.TCPKeepAlive.self),
    SectionDescription(Configuration.Pool.self),
    SectionDescription(Configuration.Backend.self),
    SectionDescription(Configuration.Health.self),
    SectionDescription(Configuration.Ejection.self),
    SectionDescription(Configuration.Queue.self),
    SectionDescription(Configuration.Stickiness.self),
    SectionDescription(Configuration.Retry.self),
    SectionDescription(Configuration.Timeouts.self),
    SectionDescription(Configuration.KeepAlive.self),
    SectionDescription(Configuration.Route.self),
    SectionDescription(Configuration.Redirect.self),
    SectionDescription(Configuration.Response.self),
    SectionDescription(Configuration.FieldEdits.self),
    SectionDescription(Configuration.Limits.self),
    SectionDescription(Configuration.Paths.self),
    SectionDescription(Configuration.Log.self),
    SectionDescription(Configuration.Tracing.self),
    SectionDescription(Configuration.Process.self),
    SectionDescription(Configuration.Admin.self),
  ]

  /// The JSON Schema (draft 2020-12), ready to be written to docs/config.schema.json.
  public static var schema: String { schemaDocument.formatted() + "\n" }

  static var schemaDocument: JSON {
    [
      "$schema": "https://json-schema.org/draft/2020-12/schema",
      "title": "Martlet configuration",
      "$ref": .string("#/$defs/\(Configuration.title.anchor)"),
      "$defs": .object(sections.map { ($0.title.anchor, $0.schema) }),
    ]
  }

  /// The Markdown page, ready to be written to docs/CONFIGURATION.md.
  public static var markdown: String {
    introduction + sections.map(\.markdown).joined()
  }

  private static let introduction = #"""
    # Configuration

    <!-- Printed by `martlet reference`; change the tables of keys in Sources/Configuration. -->

    Martlet reads one JSON file: `--config FILE`, else `config.json` in the working directory.
    Everything has a default, so the smallest useful file names only the backends:

    ```json
    { "pools": [{ "backends": ["127.0.0.1:9001", "127.0.0.1:9002"] }] }
    ```

    It listens on port 8443 of this machine with `certs/server.crt` and `certs/server.key`.

    - Comments are allowed, `// to the end of the line` and `/* between */`.
    - Durations are a whole number with a unit: `"250ms"`, `"5s"`, `"2m"`, `"12h"`, `"30d"`.
    - Sizes are a whole number with a unit: `"512B"`, `"64KiB"`, `"10MiB"`, `"2GiB"`.
    - Relative paths of files start at the directory of the configuration file.
    - An unknown key is an error: a misspelt limit must not be no limit.
    - `martlet check FILE` reports all mistakes at once, each with line, column, key, what was
      found and what is allowed, or shows what would run. Reload checks in the same way, and keeps
      the old configuration when the new one has an error.
    - Flags of `martlet run` stand above the file, and the file above the defaults.
    - With `"$schema": "docs/config.schema.json"` editors complete and check the keys.

    A site with HTTPS, a redirect from plain HTTP, and two applications:

    ```json
    {
      "listeners": [
        {
          "listen": "*:443",
          "tls": { "certificates": [{ "chain": "certs/site.crt", "key": "certs/site.key" }] },
          "hsts": { "max-age": "365d" }
        },
        // All but /.well-known/acme-challenge/ is sent to https.
        { "listen": "*:80", "redirect-to-https": 443 }
      ],
      "pools": [
        {
          "name": "web",
          "strategy": "least-connections",
          "backends": ["10.0.0.11:8080", "10.0.0.12:8080"],
          "health": { "check": "http", "path": "/healthz" }
        },
        {
          "name": "api",
          "strategy": "weighted-round-robin",
          "backends": [
            { "address": "api-1.internal:3000", "weight": 3 },
            { "address": "unix:/run/api.sock", "backup": true }
          ],
          "retry": { "statuses": [502, 503] }
        },
        { "name": "acme", "backends": ["127.0.0.1:8402"] }
      ],
      "routes": [
        { "forward": "web", "response": { "set": { "X-Frame-Options": "DENY" } } },
        { "path": "/api", "forward": "api", "request": { "remove": ["Cookie"] } },
        { "path": "/.well-known/acme-challenge", "forward": "acme" },
        { "host": "example.com", "redirect": { "host": "www.example.com" } },
        { "path": "/ping", "match": "exact", "respond": { "body": "pong\n" } }
      ]
    }
    ```

    """#
}

/// A section with its types gone: what there is to print about it.
struct SectionDescription {
  struct KeyDescription {
    let name: String
    let isRequired: Bool
    let meaning: String
    let form: FormDescription
    /// The default as it would be written; nil when the key is required or simply absent.
    let standard: JSON?
  }

  let title: String
  let about: String
  let keys: [KeyDescription]

  init<S: Section>(_: S.Type) {
    let standard = S()
    title = S.title
    about = S.about
    keys = S.keys.map { key in
      KeyDescription(
        name: key.name, isRequired: key.isRequired, meaning: key.meaning, form: key.form,
        standard: key.isRequired ? nil : key.write(standard))
    }
  }

  /// An object that allows these keys and no others.
  fileprivate var schema: JSON {
    var schema: JSON = [
      "description": .string(about), "type": "object",
      "properties": .object(
        keys.map { key in
          var property = key.form.schema
          property["description"] = .string(key.meaning)
          if let standard = key.standard { property["default"] = standard }
          return (key.name, property)
        }),
      "additionalProperties": false,
    ]
    let required = keys.filter(\.isRequired).map { JSON.string($0.name) }
    if !required.isEmpty { schema["required"] = .list(required) }
    return schema
  }

  fileprivate var markdown: String {
    let rows = keys.map { key in
      let standard =
        if key.isRequired { "required" } else { key.standard.map { "`\($0.compact)`" } ?? "" }
      return "| `\(key.name)` | \(key.form.kind) | \(standard) | \(key.meaning) |\n"
    }
    return """

      ## \(title)

      \(about)

      | Key | Value | Default | Meaning |
      |---|---|---|---|
      \(rows.joined())
      """
  }
}
