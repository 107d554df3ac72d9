// Reading the error pages of a configuration: at the start, at each reload, and for `check`.

import Configuration
import Proxy
import Reactor

extension Configuration {
  /// Every file that is some error's page, with the key that names it.
  private var allErrorPages: [(key: String, page: ErrorPage)] {
    errorPages.map { ("error-pages", $0) }
      + routes.enumerated().flatMap { index, route in
        route.errorPages.map { ("routes[\(index)].error-pages", $0) }
      }
  }

  /// The paths of all of them.
  var errorPagePaths: Set<String> { Set(allErrorPages.map(\.page.path)) }

  /// Reads each page, and reports those that are none.
  func loadErrorPages(_ faults: inout [FileFault]) -> [String: Proxy.ErrorPage] {
    var pages: [String: Proxy.ErrorPage] = [:]
    for (key, page) in allErrorPages where pages[page.path] == nil {
      func report(_ message: String) {
        faults.append(
          FileFault(
            severity: .error, path: page.path, key: "error-pages",
            owner: "\(key).\(page.statusText)", message: "\(page.path) \(message)"))
      }
      do throws(SystemError) {
        let bytes = try File.read(page.path, limit: ErrorPage.byteCountMax)
        if String(validating: bytes, as: UTF8.self) == nil {
          report("isn't UTF-8")
        } else if let parsed = Proxy.ErrorPage(bytes, kind: Proxy.ErrorPage.Kind(page.kind)) {
          pages[page.path] = parsed
        } else {
          report("has more than \(Proxy.ErrorPage.placeholderMax) placeholders")
        }
      } catch {
        report(error == .fileTooLarge ? "is larger than 64KiB" : "can't be read: \(error.ofFile)")
      }
    }
    return pages
  }
}

extension ErrorPages {
  /// Those of one object of the configuration.
  init(
    _ configured: [Configuration.ErrorPage], from pages: [String: ErrorPage],
    over outer: ErrorPages = ErrorPages()
  ) {
    self.init(
      configured.compactMap { page in
        pages[page.path].map {
          (UInt16(clamping: page.statuses.lowerBound)...UInt16(clamping: page.statuses.upperBound),
           $0)
        }
      }, over: outer)
  }
}

extension ErrorPage.Kind {
  fileprivate init(_ kind: Configuration.ErrorPage.Kind) {
    self =
      switch kind {
      case .html: .html
      case .text: .text
      case .json: .json
      case .xml: .xml
      }
  }
}
