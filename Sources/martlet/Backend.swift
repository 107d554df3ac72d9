// `martlet backend`: a small server with a name, to try a load balancer on. It is Martlet itself,
// with a configuration of one plain listener and one route.

import ArgumentParser
import Configuration
import Server

struct Backend: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a small demo backend, which answers with its name.",
    discussion: """
      Every request is answered with "Hello from NAME".

      EXAMPLES
        martlet backend --name one --listen 127.0.0.1:9001
        curl http://127.0.0.1:9001/
      """)

  @Option(help: ArgumentHelp("The name to answer with.", valueName: "name"))
  var name = "backend-1"

  @Option(help: ArgumentHelp("The address to listen on.", valueName: "address:port"))
  var listen = "127.0.0.1:9001"

  func run() throws {
    guard let configuration = Configuration.demoBackend(name: name, listen: listen) else {
      throw ValidationError(
        "--listen: \"\(listen)\" is not an address to listen on; write one such as 127.0.0.1:9001")
    }
    let refusal = RefusedConfiguration(["a demo backend has no configuration"])
    try launch(
      configuration, file: nil, log: ProcessLog(configuration.log),
      reload: { .failure(refusal) },
      interpret: { _ in .failure(refusal) })
  }
}
