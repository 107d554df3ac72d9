// Which OpenSSL is linked: with a shared library that may be another one than at build time.

import COpenSSL

public enum OpenSSLVersion {
  /// Such as `3.0.17`.
  public static var linked: String {
    guard let text = unsafe OpenSSL_version(OPENSSL_VERSION_STRING) else { return "unknown" }
    return unsafe String(cString: text)
  }
}
