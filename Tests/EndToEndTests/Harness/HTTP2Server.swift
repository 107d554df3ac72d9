// A backend with HTTP/2 that isn't Martlet's own code: a process with Python's h2. It answers calls
// of gRPC by the name of their method, echoes tunnels (RFC 8441), and writes down what it got.
//
//   Echo      the message, and the status 0 in trailers; with `fails` this status, Trailers-Only
//   Late      a message, and then the status 14
//   Missing   a message, and no status
//   Begin     a message, and nothing more
//   Silent    nothing

import Foundation
import Testing

final class HTTP2Server: ConfiguredBackend {
  let port: Int
  private let process: ChildProcess

  var address: String { "127.0.0.1:\(port)" }
  var json: String { "\"\(address)\"" }

  /// - Parameters:
  ///   - tunnels: whether it offers extended CONNECT.
  ///   - fails: the status of each call of Echo, without a message.
  ///   - pushback: grpc-retry-pushback-ms of these responses.
  ///   - certificates: for TLS, with h2 and http/1.1 by ALPN.
  init(
    tunnels: Bool = false, fails: Int? = nil, pushback: String = "",
    certificates: Certificates? = nil
  ) throws {
    let pair = certificates.map { [$0.folder.path("server.crt"), $0.folder.path("server.key")] }
    process = try ChildProcess(
      [
        "/usr/bin/python3", "-u", "-c", Self.script, tunnels ? "1" : "",
        fails.map { "\($0)" } ?? "", pushback,
      ] + (pair ?? []))
    let process = process
    eventually("the backend listens") { process.outputText.contains("\n") }
    port = Int(process.outputText.split(separator: "\n").first ?? "") ?? 0
  }

  func end() { process.end() }

  /// What has happened, each as an object.
  func events(_ kind: String) -> [[String: Any]] {
    process.outputText.split(separator: "\n").dropFirst().compactMap { line in
      try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    }.filter { $0["event"] as? String == kind }
  }

  /// The fields of each request.
  var requests: [[String: String]] {
    events("request").compactMap { $0["fields"] as? [String: String] }
  }

  private static let script = """
    import base64, hashlib, json, socket, ssl, sys, threading
    import h2.config, h2.connection, h2.events, h2.settings

    tunnels, fails, pushback, pair = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    lock = threading.Lock()

    def say(event, **facts):
        with lock:
            print(json.dumps({"event": event, **facts}), flush=True)

    def serve_http1(wire):
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            head += wire.recv(1)
        lines = head.decode().split("\\r\\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        say("http1", line=lines[0], fields=fields)
        if "upgrade" not in fields:
            wire.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
            return
        wire.sendall(b"HTTP/1.1 101 X\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
        while piece := wire.recv(65536):
            wire.sendall(piece.upper())

    class Connection:
        def __init__(self, wire):
            self.wire = wire
            config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
            self.h2 = h2.connection.H2Connection(config)
            codes = h2.settings.SettingCodes
            values = {codes.MAX_CONCURRENT_STREAMS: 100}
            if tunnels:
                values[codes.ENABLE_CONNECT_PROTOCOL] = 1
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=values)
            self.h2.initiate_connection()
            self.requests = {}
            self.bodies = {}
            # What a tunnel still has to send, and which of them end after that.
            self.waiting = {}
            self.ending = set()

        def send(self, stream):
            waiting = self.waiting[stream]
            while waiting:
                room = min(self.h2.local_flow_control_window(stream), 16384)
                if room <= 0:
                    break
                self.h2.send_data(stream, waiting[:room])
                waiting = waiting[room:]
            self.waiting[stream] = waiting
            if not waiting and stream in self.ending:
                del self.waiting[stream]
                self.h2.end_stream(stream)

        def flush(self):
            self.wire.sendall(self.h2.data_to_send())

        def run(self):
            self.flush()
            while data := self.wire.recv(65536):
                for event in self.h2.receive_data(data):
                    self.take(event)
                self.flush()

        def take(self, event):
            events = h2.events
            if isinstance(event, events.RequestReceived):
                fields = dict(event.headers)
                say("request", stream=event.stream_id, fields=fields)
                self.requests[event.stream_id] = fields
                self.bodies[event.stream_id] = b""
                if ":protocol" in fields:
                    self.waiting[event.stream_id] = b""
                    refused = fields[":path"] == "/refused"
                    status = [(":status", "403" if refused else "200")]
                    self.h2.send_headers(event.stream_id, status, end_stream=refused)
            elif isinstance(event, events.DataReceived):
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
                fields = self.requests[event.stream_id]
                if ":protocol" in fields:
                    self.waiting[event.stream_id] += event.data.upper()
                    self.send(event.stream_id)
                    return
                if not self.bodies[event.stream_id] and fields[":path"].endswith("/Begin"):
                    self.begin(event.stream_id, event.data)
                self.bodies[event.stream_id] += event.data
            elif isinstance(event, events.StreamEnded):
                self.answer(event.stream_id, self.requests[event.stream_id])
            elif isinstance(event, events.WindowUpdated):
                for stream in list(self.waiting):
                    self.send(stream)
            elif isinstance(event, events.StreamReset):
                self.waiting.pop(event.stream_id, None)
                say("reset", stream=event.stream_id, code=int(event.error_code))

        def begin(self, stream, message):
            self.h2.send_headers(
                stream, [(":status", "200"), ("content-type", "application/grpc")])
            self.h2.send_data(stream, message)

        def end(self, stream, status):
            self.h2.send_headers(stream, [("grpc-status", status)], end_stream=True)

        def answer(self, stream, fields):
            body = self.bodies[stream]
            method = fields[":path"].rsplit("/", 1)[-1]
            if ":protocol" in fields:
                say("ended", stream=stream)
                self.ending.add(stream)
                self.send(stream)
            elif method == "Echo" and fails:
                head = [(":status", "200"), ("content-type", "application/grpc"),
                        ("grpc-status", fails)]
                if pushback:
                    head.append(("grpc-retry-pushback-ms", pushback))
                self.h2.send_headers(stream, head, end_stream=True)
            elif method in ("Echo", "Late"):
                self.begin(stream, body)
                self.end(stream, "0" if method == "Echo" else "14")
            elif method == "Missing":
                self.begin(stream, body)
                self.h2.end_stream(stream)
            elif method in ("Begin", "Silent"):
                pass
            else:
                self.h2.send_headers(stream, [(":status", "200")])
                self.h2.send_data(stream, b"plain", end_stream=True)

    def serve(wire, context):
        try:
            if context:
                wire = context.wrap_socket(wire, server_side=True)
                if wire.selected_alpn_protocol() != "h2":
                    return serve_http1(wire)
            Connection(wire).run()
        except Exception as error:
            say("error", text=repr(error))
        finally:
            wire.close()

    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        context.set_alpn_protocols(["h2", "http/1.1"])
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    while True:
        wire, _ = listening.accept()
        threading.Thread(target=serve, args=(wire, context), daemon=True).start()
    """
}
