// What this binary was built from.

import CLinux

public enum BuildFacts {
  /// The commit, as MARTLET_COMMIT said at build time; else `unknown`.
  public static var commit: String {
    guard let text = unsafe clinux_commit() else { return "unknown" }
    return unsafe String(cString: text)
  }

  /// The compiler's version, as exactly as conditional compilation tells.
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
