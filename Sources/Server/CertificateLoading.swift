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

  typealias LoadedCertificates = (
    byListener: SnapshotBuilder.Certificates, report: CertificateReport, facts: [CertificateFacts]
  )

  private func loadCertificates() throws(ServerFailure) -> LoadedCertificates {
    var byListener: SnapshotBuilder.Certificates = [:]
    var report = CertificateReport()
    var problems: [String] = []
    let now = Int64(SystemClock.wall() / 1_000_000_000)
    for listener in listeners {
      for files in listener.tls?.certificates ?? [] {
        do throws(CertificateFailure) {
          let certificate = try Certificate(chainPath: files.chain, keyPath: files.key)
          byListener[listener.name, default: []].append(certificate)
          switch certificate.validity(at: now) {
          case .valid: break
          case .expired: report.outOfDate.append("\(files.chain): the certificate has expired")
          case .notYetValid:
            report.outOfDate.append("\(files.chain): the certificate is not valid yet")
          }
          if let exposure = certificate.keyExposure {
            switch process.exposedKeys {
            case .warn: report.warnings.append(exposure)
            case .refuse: problems.append("listener \(listener.name): \(exposure)")
            }
          }
        } catch {
          problems.append("listener \(listener.name): \(error)")
        }
      }
    }
    if !problems.isEmpty { throw ServerFailure(problems) }
    let facts = listeners.flatMap { listener in
      (byListener[listener.name] ?? []).map { certificate in
        CertificateFacts(
          listener: listener.name, path: certificate.chainPath,
          names: certificate.dnsNames + certificate.addresses.map { "\($0)" },
          notBefore: certificate.notBefore, notAfter: certificate.notAfter)
      }
    }
    return (byListener, report, facts)
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
