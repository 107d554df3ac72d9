// The versions from which this binary was built.

import CLinux

public enum BuildFacts {
  /// The commit, from MARTLET_COMMIT at build time; `unknown` without it.
  public static var commit: String {
    guard let text = unsafe clinux_commit() else { return "unknown" }
    return unsafe String(cString: text)
  }

  /// The version of the compiler, as exactly as conditional compilation shows it.
  public static var swift: String {
    #if compiler(>=6.5)
      "6.5 or later"
    #elseif compiler(>=6.4)
      "6.4"
    #elseif compiler(>=6.3.1)
      "6.3.1 or later"
    #else
      "6.3"
    #endif
  }
}
