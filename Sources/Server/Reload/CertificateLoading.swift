// Loading the files of a configuration that are served: certificates with their keys, and pages for
// errors; and what is to be said about them.

import Configuration
import Proxy
import Reactor
import TLS

/// What is wrong with a file that the configuration names.
struct FileFault {
  enum Severity {
    /// Nothing starts, and no reload is taken up.
    case error
    /// A certificate that has expired or isn't valid yet: it is served all the same, since one dead
    /// site must not take the others down.
    case outOfDate
    case warning
  }

  let severity: Severity
  /// The file as it is opened, and a key above which its path stands.
  let path: String
  let key: String
  /// In whose service, for messages that can't show the line: `listener web`.
  let owner: String
  let message: String
}

extension Configuration {
  /// Reads every file that is served. Throws all that can't be, file by file.
  func loadFiles() throws(ServerFailure) -> (
    certificates: LoadedCertificates, pages: [String: Proxy.ErrorPage]
  ) {
    var faults: [FileFault] = []
    var certificates = loadCertificates(&faults)
    let pages = loadErrorPages(&faults)
    let errors = faults.filter { $0.severity == .error }
    if !errors.isEmpty { throw ServerFailure(errors.map { "\($0.owner): \($0.message)" }) }
    certificates.faults = faults
    return (certificates, pages)
  }

  func loadCertificates(_ faults: inout [FileFault]) -> LoadedCertificates {
    var loaded = LoadedCertificates()
    for listener in listeners {
      loaded.byListener[listener.name] = loaded.load(
        listener.tls?.certificates ?? [], of: listener.name, "listener \(listener.name)",
        process.exposedKeys, &faults)
    }
    loadUpstreams(into: &loaded, &faults)
    if let files = admin.certificate {
      loaded.admin =
        loaded.load([files], of: "admin.listen", "admin", process.exposedKeys, &faults).first
    }
    do throws(CertificateFailure) {
      loaded.adminClients = try admin.clientCA.map(ClientAuthority.init)
    } catch {
      faults.append(
        FileFault(
          severity: .error, path: error.path, key: "client-ca", owner: "admin.client-ca",
          message: error.text))
    }
    return loaded
  }
}

extension Configuration {
  /// The files of pools with TLS.
  private func loadUpstreams(into loaded: inout LoadedCertificates, _ faults: inout [FileFault]) {
    var system: TrustStore?
    for pool in pools {
      guard let tls = pool.tls else { continue }
      var files = UpstreamFiles()
      if let certificate = tls.certificate {
        files.identity =
          loaded.load(
            [certificate], of: "pools.\(pool.name).tls", "pool \(pool.name)",
            process.exposedKeys, &faults
          ).first
      }
      if tls.verification == .on {
        do throws(CertificateFailure) {
          files.trust = try tls.authority.map(TrustStore.init(path:))
        } catch {
          faults.append(
            FileFault(
              severity: .error, path: error.path, key: "ca", owner: "pool \(pool.name)",
              message: error.text))
        }
        if tls.authority == nil {
          // One for all pools.
          if system == nil { system = try? TrustStore() }
          files.trust = system
          if !TrustStore.systemHasAuthorities {
            faults.append(
              FileFault(
                severity: .warning, path: "", key: "tls", owner: "pool \(pool.name)",
                message: "pool \(pool.name): this system trusts no authorities, so no backend can"
                  + " be verified; install ca-certificates, or set ca"))
          }
        }
      }
      loaded.upstreams[pool.name] = files
    }
  }
}

/// What the files of a configuration hold.
struct LoadedCertificates {
  var byListener: SnapshotBuilder.Certificates = [:]
  /// By pool.
  var upstreams: [String: UpstreamFiles] = [:]
  var admin: Certificate?
  var adminClients: ClientAuthority?
  var facts: [CertificateFacts] = []
  /// None of them an error.
  var faults: [FileFault] = []

  /// Loads those of one address, which is called `owner` where something is wrong.
  fileprivate mutating func load(
    _ pairs: [Configuration.CertificateFiles], of listener: String, _ owner: String,
    _ exposedKeys: Configuration.Process.ExposedKeys, _ faults: inout [FileFault]
  ) -> [Certificate] {
    let now = Int64(SystemClock.wall() / 1_000_000_000)
    var result: [Certificate] = []
    for files in pairs {
      func report(
        _ severity: FileFault.Severity, _ path: String, _ message: String, key: String = "chain"
      ) {
        faults.append(
          FileFault(severity: severity, path: path, key: key, owner: owner, message: message))
      }
      func report(
        _ validity: Certificate.Validity?, _ chainFault: String?, _ keyExposure: String?
      ) {
        switch validity {
        case .valid, nil: break
        case .expired:
          report(.outOfDate, files.chain, "\(files.chain): the certificate has expired")
        case .notYetValid:
          report(.outOfDate, files.chain, "\(files.chain): the certificate is not valid yet")
        }
        if let chainFault { report(.warning, files.chain, "\(files.chain): \(chainFault)") }
        if let keyExposure {
          report(
            exposedKeys == .refuse ? .error : .warning, files.key, "\(files.key): \(keyExposure)",
            key: "key")
        }
      }
      if let certificate = try? Certificate(chainPath: files.chain, keyPath: files.key) {
        result.append(certificate)
        facts.append(CertificateFacts(certificate, of: listener))
        report(
          certificate.validity(at: now), certificate.chainFault,
          exposure(certificate.isKeyWorldReadable, certificate.isKeyWritableByOthers))
      } else {
        let inspection = CertificateInspection(
          chainPath: files.chain, keyPath: files.key, at: now)
        for failure in inspection.failures {
          let hint = failure == .missingFile(path: files.chain) ? files.hint : ""
          report(
            .error, failure.path, failure.text + hint,
            key: failure.path == files.key ? "key" : "chain")
        }
        report(
          inspection.validity, inspection.chainFault,
          exposure(inspection.isKeyWorldReadable, inspection.isKeyWritableByOthers))
      }
    }
    return result
  }

  /// The problem with the permissions of a key file.
  private func exposure(_ isWorldReadable: Bool, _ isWritableByOthers: Bool) -> String? {
    if isWorldReadable { return "every user of this machine can read this key" }
    return isWritableByOthers ? "others than its owner can change this key" : nil
  }
}

extension CertificateFacts {
  fileprivate init(_ certificate: Certificate, of listener: String) {
    self.init(
      listener: listener, path: certificate.chainPath,
      names: certificate.dnsNames + certificate.addresses.map { "\($0)" },
      isSelfSigned: certificate.isSelfSigned, notBefore: certificate.notBefore,
      notAfter: certificate.notAfter)
  }
}

extension CertificateFailure {
  /// The description. If a permission is missing, it names the user.
  fileprivate var text: String {
    guard case .unreadableFile(let path, _) = self else { return "\(self)" }
    do throws(SystemError) {
      _ = try File.read(path, limit: 1 << 20)
    } catch where error == .permissionDenied {
      return "\(path) can't be read: \(error.ofFile)"
    } catch {}
    return "\(self)"
  }
}

extension Configuration.CertificateFiles {
  /// What to do if the default files don't exist, which no configuration may have named.
  fileprivate var hint: String {
    guard let files = Configuration.TLS.standard.certificates.first,
      chain == files.chain || chain.hasSuffix("/" + files.chain)
    else { return "" }
    return "; use --certificate and --key, or --plain-http, or create it with scripts/make-certs"
  }
}
