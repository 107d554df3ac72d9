// Lists of field names: their content, and the letters by which they are looked up.

import Primitives
import Testing

@testable import HTTP

struct FieldNamesTests {
  @Test(arguments: FieldNames.allCases)
  func theLettersAreThoseOfTheNames(names: FieldNames) {
    var initials = FieldInitials()
    for name in names.names { initials.insert(name.bytes[0]) }
    if let prefix = names.prefix { initials.insert(prefix.bytes[0]) }
    #expect(names.initials == initials)
  }

  @Test(arguments: FieldNames.allCases)
  func noNameIsAKnownField(names: FieldNames) {
    for name in names.names {
      let isKnown = KnownField(name.bytes) != nil
      #expect(!isKnown, "\(name)")
    }
  }

  @Test func namesBeginningsAndLookalikesAreTold() {
    func found(_ name: String) -> (Bool, Bool) {
      let bytes = Array(name.utf8)
      return (
        FieldNames.forwarding.contains(bytes.span), FieldNames.forwarding.containsAlike(bytes.span)
      )
    }
    for name in ["Client-IP", "client-ip", "X-FORWARDED-USER", "x-forwarded-"] {
      #expect(found(name) == (true, true), "\(name)")
    }
    for name in ["Client_IP", "X.Forwarded_User"] {
      #expect(found(name) == (false, true), "\(name)")
    }
    for name in ["Client-I", "Client-IPs", "XForwarded-User", "X-Forwarde", "", "Accept-Charset"] {
      #expect(found(name) == (false, false), "\(name)")
    }
  }
}
