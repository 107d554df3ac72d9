// Each kind of value: what it accepts, what it refuses, and that it is written as it was read.

import Primitives
import Testing

@testable import Configuration

/// The result of `form` for a JSON text, and the message when it is refused.
private func read<Value>(_ form: Form<Value>, _ text: String) -> (value: Value?, message: String?) {
  let source = SourceText(file: "dir/c.json", bytes: Array(text.utf8))
  var decoder = Decoder(source: source, isPartial: false)
  let value = form.read(JSONReader.read(Array(text.utf8)).document, &decoder)
  return (value, decoder.diagnostics.first?.description)
}

@Suite("The forms of values")
struct FormTests {
  @Test(
    "a duration is a number with a unit",
    arguments: [
      ("250ms", 250), ("5s", 5000), ("2m", 120_000), ("12h", 43_200_000), ("1d", 86_400_000),
      ("0s", 0), ("007s", 7000),
    ])
  func durations(_ text: String, _ milliseconds: Int64) {
    let form = Form<TimeSpan>.duration(.zero ... .seconds(86_400))
    #expect(read(form, "\"\(text)\"").value == .milliseconds(milliseconds))
  }

  @Test(
    "anything else is no duration",
    arguments: [
      "5", "5 s", "s", "", "-5s", "1.5s", "5S", "5sec", "5s5", "٥s", "99999999999999999999s",
      "9223372036854775807d",
    ])
  func wrongDurations(_ text: String) {
    let form = Form<TimeSpan>.duration(.zero ... .seconds(86_400))
    #expect(read(form, "\"\(text)\"").value == nil)
  }

  @Test("a duration out of its range is refused with the range")
  func durationRange() {
    let form = Form<TimeSpan>.duration(.milliseconds(100) ... .seconds(3600))
    #expect(
      read(form, "\"50ms\"").message
        == #"dir/c.json:1:1: error: "50ms" is out of range; 100ms to 1h is allowed"#)
    #expect(read(form, "\"9000000000000000d\"").value == nil)
    #expect(
      read(form, "5").message?.hasSuffix(#"(did you mean "5s"?)"#) == true)
  }

  @Test(
    "a size is a number with a binary unit",
    arguments: [
      ("0B", 0), ("512B", 512), ("64KiB", 65536), ("10MiB", 10 << 20), ("2GiB", 2 << 30),
      ("3TiB", 3 << 40),
    ])
  func sizes(_ text: String, _ byteCount: Int) {
    let form = Form<Int>.size(0 ... 1 << 50)
    #expect(read(form, "\"\(text)\"").value == byteCount)
    #expect(form.write(byteCount).text == text)
  }

  @Test(
    "anything else is no size, and the nearest one is named",
    arguments: [
      ("65536", "64KiB"), ("\"64K\"", "64KiB"), ("\"64kb\"", "64KiB"), ("\"64 KiB\"", "64KiB"),
      ("\"1g\"", "1GiB"), ("\"2 PB\"", nil), ("\"2048T\"", nil), ("\"10\"", nil),
      ("\"KiB\"", nil), ("\"64KiBs\"", nil), ("true", nil),
      ("\"99999999999999999999B\"", "99999999999999999999B"), ("\"9223372036854775807KiB\"", nil),
    ])
  func wrongSizes(_ text: String, _ suggestion: String?) {
    let (value, message) = read(Form<Int>.size(0 ... 1 << 50), text)
    #expect(value == nil)
    let hint = suggestion.map { "(did you mean \"\($0)\"?)" }
    if text.contains("9999") { return }
    #expect(hint.map { message?.hasSuffix($0) == true } ?? (message?.contains("mean") == false))
  }

  @Test(
    "durations are written in the largest unit without a rest",
    arguments: [
      (0, "0s"), (1, "1ms"), (1000, "1s"), (1500, "1500ms"), (90_000, "90s"), (120_000, "2m"),
      (86_400_000, "1d"),
    ])
  func durationTexts(_ milliseconds: Int64, _ text: String) {
    #expect(durationText(.milliseconds(milliseconds)) == text)
  }

  @Test(
    "statuses are one or a range",
    arguments: [
      ("204", 204...204), ("\"204\"", 204...204), ("\"200-399\"", 200...399), ("99", nil),
      ("600", nil), ("\"399-200\"", nil), ("\"200-\"", nil), ("\"-200\"", nil),
      ("\"2xx\"", nil), ("\"200-299-300\"", nil), ("\"200--299\"", nil), ("\"\"", nil),
    ] as [(String, ClosedRange<Int>?)])
  func statuses(_ text: String, _ expected: ClosedRange<Int>?) {
    #expect(read(.statuses, text).value == expected)
  }

  @Test(
    "an address to listen on is an address, localhost or * with a port",
    arguments: [
      ("127.0.0.1:0", ["127.0.0.1:0"]), ("[::1]:8443", ["[::1]:8443"]),
      ("localhost:80", ["127.0.0.1:80", "[::1]:80"]), ("*:443", ["0.0.0.0:443", "[::]:443"]),
      (":443", []), ("127.0.0.1", []), ("127.0.0.1:65536", []), ("::1:80", []),
      ("[127.0.0.1]:80", []), ("example.com:80", []), ("127.0.0.1:+1", []), ("127.0.0.1:", []),
    ])
  func listenAddresses(_ text: String, _ expected: [String]) {
    let addresses = read(.listenAddress, "\"\(text)\"").value?.addresses ?? []
    #expect(addresses.map(\.description) == expected)
  }

  @Test(
    "a backend is an address, a name or a socket",
    arguments: [
      ("10.0.0.1:80", "10.0.0.1:80"), ("[2001:DB8::1]:80", "[2001:db8::1]:80"),
      ("App.internal:8080", "app.internal:8080"), ("unix:/run/a b.sock", "unix:/run/a b.sock"),
      ("http://10.0.0.1", "10.0.0.1:80"), ("http://app:81/", "app:81"),
      ("http://[::1]", "[::1]:80"), ("App.svc.local.:80", "app.svc.local.:80"),
      ("http://app.", "app.:80"), ("app..:80", nil), (".:80", nil), ("10.0.0.1.:80", nil),
      ("app", nil), ("10.0.0.1:0", nil), ("10.0.0.300:80", nil), ("-:x", nil), ("a b:80", nil),
      ("unix:", nil), ("https://10.0.0.1", "https://10.0.0.1:443"),
      ("HTTPS://App:8443/", "https://app:8443"), ("https://[::1]", "https://[::1]:443"),
      ("https://app/path", nil), ("https://http://app", nil), ("https://unix:/a", nil),
      ("http://app/path", nil), ("::1:80", nil),
      ("ftp://app:80", nil), (":80", nil), ("a..b:80", nil),
    ])
  func endpoints(_ text: String, _ expected: String?) {
    #expect(read(.backendAddress, "\"\(text)\"").value?.description == expected)
  }

  @Test(
    "the error for a non-ASCII name, or one with a dot at its end, suggests the DNS form",
    arguments: [
      ("münchen.de", "xn--mnchen-3ya.de"), ("*.Bücher.example", "*.xn--bcher-kva.example"),
      ("straße.de", "xn--strae-oqa.de"), ("例え.jp", "xn--r8jz45g.jp"),
      ("www.xn--bcher-kva.é", "www.xn--bcher-kva.xn--9ca"), ("example.org.", "example.org"),
      ("mu\u{308}nchen.de", nil), ("a b", nil), ("", nil), ("ü/", nil),
      (String(repeating: "ü", count: 64), nil),
    ])
  func hostSuggestions(_ text: String, _ expected: String?) {
    let hint = expected.map { "(did you mean \"\($0)\"?)" }
    let message = read(.host, "\"\(text)\"").message ?? ""
    #expect(hint.map { message.hasSuffix($0) } ?? !message.contains("did you mean"), "\(message)")
    guard let expected, !text.hasPrefix("*") else { return }
    #expect(read(.hostName, "\"\(text)\"").message?.hasSuffix(hint ?? "") == true)
    // The dot at the end of a backend's name is kept for the resolver.
    if text.hasSuffix(".") { return }
    let endpoint = read(Form<Configuration.BackendAddress>.backendAddress, "\"\(text):80\"").message
    #expect(endpoint?.hasSuffix("(did you mean \"\(expected):80\"?)") == true, "\(endpoint ?? "")")
  }

  @Test(
    "a host is a name, all names below one, or an address",
    arguments: [
      ("WWW.Example.com", "www.example.com"), ("*.example.com", "*.example.com"),
      ("10.0.0.1", "10.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("*", nil),
      ("www.*.com", nil), ("example.com:80", nil), ("", nil), ("a/b", nil), ("1.2.3", nil),
    ])
  func hosts(_ text: String, _ expected: String?) {
    #expect(read(.host, "\"\(text)\"").value?.description == expected)
  }

  @Test(
    "a path of a route is normalised",
    arguments: [
      ("/", true), ("/api", true), ("/api/", true), ("/a/b-c_d.e~f", true), ("", false),
      ("api", false), ("//", false), ("/a//b", false), ("/a/../b", false), ("/.", false),
      ("/a?b", false), ("/a%2Fb", false), ("/a b", false), ("/é", false), ("/a#b", false),
    ])
  func paths(_ text: String, _ isPath: Bool) {
    #expect((read(.path, "\"\(text)\"").value != nil) == isPath)
  }

  @Test("a framing field can't be set, and no value contains a line feed")
  func fields() {
    #expect(
      read(.fields, #"{"X-A": "b c", "via": ""}"#).value?.map { "\($0.name)=\($0.value)" }
        == ["X-A=b c", "via="])
    for text in [
      #"{"Content-Length": "1"}"#, #"{"transfer-encoding": "x"}"#, #"{"Host": "x"}"#,
      #"{"X A": "b"}"#, #"{"": "b"}"#, #"{"X-A": "b\nc"}"#, #"{"X-A": "b\u0000"}"#,
      #"{"X-A": 1}"#, "[]",
    ] {
      #expect(read(.fields, text).message != nil, "\(text)")
    }
  }

  @Test("a relative path starts at the directory of the file, an absolute one doesn't")
  func files() {
    #expect(read(.file, "\"certs/a.crt\"").value == "dir/certs/a.crt")
    #expect(read(.file, "\"/certs/a.crt\"").value == "/certs/a.crt")
    #expect(read(.file, "\"\"").value == nil)
    #expect(read(.file, #""a\u0000""#).value == nil)
  }

  @Test("blocks of addresses are written as they were read")
  func addressRanges() {
    for text in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::/0", "0.0.0.0/0", "::1"] {
      #expect(read(.addressRange, "\"\(text)\"").value.map { "\($0)" } == text)
    }
    for text in ["10.0.0.1/8", "10.0.0.0/33", "x", ""] {
      #expect(read(.addressRange, "\"\(text)\"").value == nil)
    }
  }
}
