// TLS to backends: which pools use it, and what is refused.

import Testing

@testable import Configuration

@Suite("TLS to backends in the configuration")
struct BackendTLSTests {
  private func read(_ pool: String) -> Configuration.Reading {
    Configuration.read(Array(#"{ "pools": [{ \#(pool) }] }"#.utf8))
  }

  private func pool(_ text: String) throws -> Configuration.Pool {
    try #require(read(text).configuration?.pools.first, "\(read(text).diagnostics)")
  }

  private func messages(_ text: String, _ severity: Diagnostic.Severity = .error) -> [String] {
    read(text).diagnostics.filter { $0.severity == severity }.map { "\($0.key): \($0.message)" }
  }

  @Test("without a scheme or with http:// there is no TLS")
  func plain() throws {
    let pool = try pool(#""backends": ["a:1", "http://b:2", "unix:/c"]"#)
    #expect(pool.tls == nil && pool.backends.allSatisfy { $0.scheme == nil })
  }

  @Test(
    "https:// or a section means TLS for all backends",
    arguments: [
      #""backends": ["https://a:1", "https://b"]"#, #""backends": ["a:1", "b:443"], "tls": {}"#,
      #""backends": ["https://a:1", "b:443"], "tls": {}"#,
    ])
  func secure(text: String) throws {
    let pool = try pool(text)
    #expect(pool.tls == Configuration.BackendTLS())
    #expect(pool.backends.map(\.address.description) == ["https://a:1", "https://b:443"])
    #expect(pool.backends.map(\.endpoint.serverName) == ["a", "b"])
    // As it is written out, it means the same.
    var configuration = Configuration()
    configuration.pools = [pool]
    let written = Configuration.read(Array(configuration.json.compact.utf8))
    #expect(written.configuration?.pools == [pool], "\(written.diagnostics)")
  }

  @Test("plain and TLS don't mix in a pool")
  func mixed() {
    #expect(
      messages(#""backends": ["https://a", "b:1"]"#) == [
        "pools[0].backends[1]: this backend is plain HTTP, but backends[0] is written with"
          + " https://; the backends of a pool use TLS, or none does: write https:// here too, or"
          + " use another pool"
      ])
    #expect(
      messages(#""backends": ["https://a", "http://b:1"], "tls": {}"#) == [
        "pools[0].backends[1]: the pool has a section tls, so all its backends use TLS, but this"
          + " one is written with http://"
      ])
    #expect(
      messages(#""backends": ["unix:/a", "https://a"]"#).first?.hasPrefix("pools[0].backends[0]")
        == true)
  }

  @Test("a Unix socket needs a name that is verified")
  func unixSocket() throws {
    let sockets = #""backends": ["unix:/a"], "tls": "#
    #expect(messages(sockets + "{}").first?.contains("set server-name") == true)
    #expect(try pool(sockets + #"{ "server-name": "app" }"#).backends[0].scheme == nil)
    #expect(try pool(sockets + #"{ "verify": "off" }"#).tls?.verification == .off)
  }

  @Test("verify off is warned about, unless there are pins")
  func unverified() {
    let backends = #""backends": ["https://a"], "tls": "#
    let pin = String(repeating: "A", count: 43) + "="
    let warning = messages(backends + #"{ "verify": "off" }"#, .warning)
    #expect(warning.count == 1 && warning.first?.contains("are not verified") == true)
    #expect(messages(backends + #"{ "verify": "off", "pins": ["\#(pin)"] }"#, .warning) == [])
    #expect(messages(backends + "{}", .warning) == [])
    #expect(
      messages(backends + #"{ "verify": "off", "pins": ["\#(pin)"], "ca": "a" }"#, .warning) == [
        #"pools[0].tls.ca: it has no effect with "verify": "off""#
      ])
    // A boolean is not a choice.
    #expect(messages(backends + #"{ "verify": false }"#).count == 1)
  }

  @Test("a pin is the base64 of 32 bytes")
  func pins() {
    let text = "APv28ezn4t3Y087JxL+6tbCrpqGcl5KNiIN+eXRvamU="
    let pin = Configuration.KeyPin(text)
    #expect(pin?.bytes.count == 32 && pin?.bytes.first == 0 && pin?.bytes[1] == 251)
    #expect(Configuration.KeyPin("//////////////////////////////////////////8=")?.bytes
      == [UInt8](repeating: 255, count: 32))
    for invalid in [
      "", "AAAA", String(repeating: "A", count: 44), String(repeating: "A", count: 42) + "==",
      String(repeating: "A", count: 42) + "B=", String(repeating: "-", count: 43) + "=",
    ] {
      #expect(Configuration.KeyPin(invalid) == nil, "\(invalid)")
    }
    let written = #""backends": ["https://a"], "tls": { "pins": ["sha256//\#(text)"] }"#
    #expect(read(written).diagnostics.first?.suggestion == "\"\(text)\"")
  }

  @Test("a backend that is added speaks what the pool speaks")
  func added() throws {
    func added(_ address: String, _ text: String) throws -> String? {
      let pool = try pool(text)
      let written = try Configuration.backendAddress(address).get()
      return Configuration.Backend(written, addedTo: pool)?.address.description
    }
    let (plain, secure) = (#""backends": ["a:1"]"#, #""backends": ["https://a:1"]"#)
    #expect(try added("b:1", plain) == "b:1" && added("b:1", secure) == "https://b:1")
    #expect(try added("http://b:1", plain) == "b:1" && added("http://b:1", secure) == nil)
    #expect(try added("https://b:1", plain) == nil)
    #expect(try added("https://b:1", secure) == "https://b:1")
    #expect(try added("unix:/b", plain) == "unix:/b" && added("unix:/b", secure) == nil)
  }
}
