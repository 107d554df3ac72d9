// The version of the linked OpenSSL. A shared library may have another version than at build time.

import COpenSSL

public enum OpenSSLVersion {
  /// For example `3.0.17`.
  public static var linked: String {
    guard let text = unsafe OpenSSL_version(OPENSSL_VERSION_STRING) else { return "unknown" }
    return unsafe String(cString: text)
  }
}
