// A certificate chain and its key, loaded and checked before any listener opens.
//
// What this type accepts, a context can serve: both files were read and belong together, and
// OpenSSL accepted them in a trial. An expired certificate is not an error here; the caller decides
// what to do about `validity`. The chain is not verified against trust anchors: clients do that.

import COpenSSL
public import Primitives

/// A server certificate: chain, key and information about them. Immutable.
@safe public final class Certificate: @unchecked Sendable {
  // Sendable because the OpenSSL objects are only read after init, by functions that take const.
  let chain: CertificateChain
  let key: PrivateKey

  public let chainPath: String
  public let keyPath: String
  /// DNS names in lower case, which may start with `*.`; the common name if the certificate has no
  /// alternative names.
  public let dnsNames: [String]
  public let addresses: [IPAddress]
  /// The first and the last second of the leaf's validity, in Unix seconds.
  public let notBefore: Int64
  public let notAfter: Int64
  /// A problem with the chain's order or completeness, as text. The chain is still served: some
  /// clients fill gaps, and some authorities sign in unusual ways.
  public var chainFault: String? { chain.fault }
  /// Whether the leaf names itself as its issuer: a client that trusts this file accepts it.
  public var isSelfSigned: Bool { chain.isSelfSigned }
  /// Differs for another chain.
  public var fingerprint: [UInt8] { chain.fingerprint }
  /// As text: `RSA 2048`, `ECDSA P-256`, `ECDSA P-384`, `Ed25519`.
  public var keyTypeName: String { key.type.name }
  /// Whether every user of the machine may read the private key. The caller should log a warning.
  public var isKeyWorldReadable: Bool { key.isWorldReadable }
  /// Whether users other than its owner may replace the key.
  public var isKeyWritableByOthers: Bool { key.isWritableByOthers }

  /// Loads the chain (PEM, leaf first) and its private key (PEM, without pass phrase).
  public init(chainPath: String, keyPath: String) throws(CertificateFailure) {
    // Another user of OpenSSL may have left errors in this thread's queue.
    ERR_clear_error()
    chain = try CertificateChain(path: chainPath)
    key = try PrivateKey(path: keyPath)
    self.chainPath = chainPath
    self.keyPath = keyPath
    (dnsNames, addresses) = chain.names
    (notBefore, notAfter) = chain.period

    if unsafe X509_check_private_key(chain.leaf, key.key) != 1 {
      ERR_clear_error()
      throw .keyMismatch(chainPath: chainPath, keyPath: keyPath)
    }
    do throws(TLSFailure) {
      let trial = try ServerContext(policy: TLSPolicy())
      try unsafe install(in: trial.context)
    } catch {
      throw .refused(path: chainPath, reason: "\(error)")
    }
  }


  /// Installs it in an SSL_CTX; it replaces one whose key has the same algorithm.
  func install(in context: OpaquePointer) throws(TLSFailure) {
    guard let copy = unsafe EVP_PKEY_dup(key.key) else { throw .capture() }
    defer { unsafe EVP_PKEY_free(copy) }
    let taken = unsafe chain.withCopy { leaf, rest in
      unsafe SSL_CTX_use_cert_and_key(context, leaf, copy, rest, 1) == 1
    }
    if taken != true { throw .capture() }
  }

  public enum Validity: Equatable, Sendable {
    case valid
    case expired
    case notYetValid

    fileprivate init(_ period: (notBefore: Int64, notAfter: Int64), at unixSeconds: Int64) {
      self =
        unixSeconds < period.notBefore
        ? .notYetValid : unixSeconds > period.notAfter ? .expired : .valid
    }
  }

  /// Whether the leaf is valid at this time, in Unix seconds.
  public func validity(at unixSeconds: Int64) -> Validity {
    Validity((notBefore, notAfter), at: unixSeconds)
  }
}

/// Everything that is known about a chain and a key that cannot be used together.
public struct CertificateInspection: Sendable {
  /// The errors: of each file, or of both together.
  public private(set) var failures: [CertificateFailure] = []
  /// Of the leaf; nil if the chain cannot be read.
  public private(set) var validity: Certificate.Validity?
  /// The same as for a certificate in use.
  public private(set) var chainFault: String?
  public private(set) var isKeyWorldReadable = false
  public private(set) var isKeyWritableByOthers = false

  /// The time is in Unix seconds.
  public init(chainPath: String, keyPath: String, at unixSeconds: Int64) {
    ERR_clear_error()
    do throws(CertificateFailure) {
      let chain = try CertificateChain(path: chainPath)
      validity = Certificate.Validity(chain.period, at: unixSeconds)
      chainFault = chain.fault
    } catch {
      failures.append(error)
    }
    do throws(CertificateFailure) {
      let key = try PrivateKey(path: keyPath)
      isKeyWorldReadable = key.isWorldReadable
      isKeyWritableByOthers = key.isWritableByOthers
    } catch {
      failures.append(error)
    }
    if !failures.isEmpty { return }
    do throws(CertificateFailure) {
      _ = try Certificate(chainPath: chainPath, keyPath: keyPath)
    } catch {
      failures.append(error)
    }
  }
}
