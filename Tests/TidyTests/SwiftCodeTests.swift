// The scanner that the rules use, tested with every Swift syntax that can hide text from it.

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
    // Blanks at the end don't matter, and the table doesn't contain them.
    var trimmed = result[...]
    while trimmed.last == " " { trimmed = trimmed.dropLast() }
    #expect(trimmed == code)
  }
}
