// `martlet backend`: a small backend to test a load balancer. It is Martlet itself, with one plain
// listener and one route.

import ArgumentParser
import Configuration
import Server

struct Backend: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a demo backend that responds with its name.",
    discussion: """
      It responds to every request with "Hello from NAME".

      EXAMPLES
        martlet backend --name one --listen 127.0.0.1:9001
        curl http://127.0.0.1:9001/
      """)

  @Option(help: ArgumentHelp("The name in the response.", valueName: "name"))
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
