// Loading the certificates of a configuration, and what is to be said about them.

public import Configuration
import Proxy
import Reactor
import TLS

extension Configuration {
  /// What is wrong with a certificate that can be served all the same, or that is worth knowing.
  public struct CertificateReport: Sendable {
    /// Expired or not yet valid: refused by `check`, served with an error by `run`.
    public var outOfDate: [String] = []
    public var warnings: [String] = []
  }

  /// Reads every file that is named. Throws all that can't be served at all, file by file.
  public func checkFiles() throws(ServerFailure) -> CertificateReport {
    try loadFiles().certificates.report
  }

  func loadFiles() throws(ServerFailure) -> (
    certificates: LoadedCertificates, pages: [String: Proxy.ErrorPage]
  ) {
    let certificates = Result { () throws(ServerFailure) in try loadCertificates() }
    let pages = Result { () throws(ServerFailure) in try loadErrorPages() }
    if case .failure(let first) = certificates, case .failure(let second) = pages {
      throw ServerFailure(first.messages + second.messages)
    }
    return (try certificates.get(), try pages.get())
  }

  private func loadCertificates() throws(ServerFailure) -> LoadedCertificates {
    var loaded = LoadedCertificates()
    var problems: [String] = []
    for listener in listeners {
      loaded.byListener[listener.name] = loaded.load(
        listener.tls?.certificates ?? [], of: listener.name, "listener \(listener.name)",
        process.exposedKeys, &problems)
    }
    if let files = admin.certificate {
      loaded.admin =
        loaded.load([files], of: "admin.listen", "admin", process.exposedKeys, &problems).first
    }
    do throws(CertificateFailure) {
      loaded.adminClients = try admin.clientCA.map(ClientAuthority.init)
    } catch {
      problems.append("admin.client-ca: \(error)")
    }
    if !problems.isEmpty { throw ServerFailure(problems) }
    return loaded
  }
}

/// What the files of a configuration hold.
struct LoadedCertificates {
  var byListener: SnapshotBuilder.Certificates = [:]
  var admin: Certificate?
  var adminClients: ClientAuthority?
  var report = Configuration.CertificateReport()
  var facts: [CertificateFacts] = []

  /// Loads those of one address, which is called `place` where something is wrong.
  fileprivate mutating func load(
    _ pairs: [Configuration.CertificateFiles], of listener: String, _ place: String,
    _ exposedKeys: Configuration.Process.ExposedKeys, _ problems: inout [String]
  ) -> [Certificate] {
    let now = Int64(SystemClock.wall() / 1_000_000_000)
    var result: [Certificate] = []
    for files in pairs {
      do throws(CertificateFailure) {
        let certificate = try Certificate(chainPath: files.chain, keyPath: files.key)
        result.append(certificate)
        facts.append(CertificateFacts(certificate, of: listener))
        switch certificate.validity(at: now) {
        case .valid: break
        case .expired: report.outOfDate.append("\(files.chain): the certificate has expired")
        case .notYetValid:
          report.outOfDate.append("\(files.chain): the certificate is not valid yet")
        }
        if let fault = certificate.chainFault { report.warnings.append("\(files.chain): \(fault)") }
        if let exposure = certificate.keyExposure {
          switch exposedKeys {
          case .warn: report.warnings.append(exposure)
          case .refuse: problems.append("\(place): \(exposure)")
          }
        }
      } catch {
        problems.append("\(place): \(error)")
      }
    }
    return result
  }
}

extension CertificateFacts {
  fileprivate init(_ certificate: Certificate, of listener: String) {
    self.init(
      listener: listener, path: certificate.chainPath,
      names: certificate.dnsNames + certificate.addresses.map { "\($0)" },
      notBefore: certificate.notBefore, notAfter: certificate.notAfter)
  }
}

extension Certificate {
  /// What is wrong with the permissions of the key's file.
  fileprivate var keyExposure: String? {
    if isKeyWorldReadable { return "\(keyPath): every user of this machine can read this key" }
    if isKeyWritableByOthers { return "\(keyPath): others than its owner can change this key" }
    return nil
  }
}
