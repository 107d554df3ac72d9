// The scanner that the rules rely on, held to the ways in which Swift can hide text from code.

import Testing

@Suite struct SwiftCodeTests {
  @Test(arguments: [
    ("let a = 1 // try!", "let a = 1"),
    ("a /* b /* c */ d */ e", "a                   e"),
    (#"f("unsafe") + g"#, "f(        ) + g"),
    (#"f("a\"b") + g"#, "f(      ) + g"),
    (##"f(#"a"b"#) + g"##, "f(       ) + g"),
    (#"f("\(x!)") + g"#, "f(   x!) ) + g"),
    (#"f("\(d["k"]!) b") + g"#, "f(   d[   ]!)   ) + g"),
    ("\"\"\"\n \" unsafe\n\"\"\"\nnext", "   \n         \n   \nnext"),
  ])
  func commentsAndStringsBecomeBlanksAndCodeStays(text: String, code: String) {
    let result = swiftCode(of: text)
    #expect(result.count == text.count)
    // Blanks at the end don't matter, and are tedious to write down.
    var trimmed = result[...]
    while trimmed.last == " " { trimmed = trimmed.dropLast() }
    #expect(trimmed == code)
  }
}
