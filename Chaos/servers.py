"""Real servers with HTTP/2 over TLS, as backends: nginx, HAProxy, Caddy, Node and grpcio.

Each answers a request with its path, so a client can tell which request was answered. nginx and
Node log what they execute. A server can be killed, restarted without loss (it finishes its
requests, while its successor starts), and told to reload. Some end their connections with GOAWAY
after a few requests, or after a short time.
"""

import os
import signal
import subprocess

from proxies import Failure, find, is_alive, until

FOLDER = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(FOLDER, "../.build-tools")
REQUESTS_PER_CONNECTION = 200
SECONDS_PER_CONNECTION = 1


def listens(port):
    """Whether the port accepts connections, without making one."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for columns in (line.split() for line in lines):
                if columns[1].endswith(f":{port:04X}") and columns[3] == "0A":
                    return True
    return False


class Server:
    """One server on a port. Subclasses write its configuration, and say how to end it."""

    name = ""
    graceful = signal.SIGTERM
    reloads = True
    # Whether it finishes all requests that it has received before it exits.
    ends_cleanly = True
    is_grpc = False

    def __init__(self, folder, port, chain, key):
        self.folder = os.path.join(folder, f"{self.name}-{port}")
        os.makedirs(self.folder)
        self.port, self.chain, self.key = port, chain, key
        self.log = os.path.join(self.folder, "log")
        self.pem = os.path.join(self.folder, "site.pem")
        with open(self.pem, "w") as pem:
            for path in (chain, key):
                with open(path) as part:
                    pem.write(part.read())
        self.old = []
        self.configure()
        self.start()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def configure(self):
        pass

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        try:
            until(f"{self.name} listens", lambda: listens(self.port))
        except Failure as failure:
            with open(self.log, errors="replace") as log:
                raise Failure(f"{failure}: {log.read()[-2000:]}") from None

    def kill(self):
        """SIGKILL for all its processes, which are in a group of their own."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        until(f"{self.name} is dead", lambda: not listens(self.port))

    def restart(self):
        """Starts it again. The old process finishes its requests meanwhile."""
        self.old.append(self.child)
        self.child.send_signal(self.graceful)
        until(f"{self.name} stops to listen", lambda: not listens(self.port))
        self.start()

    def reload(self):
        self.child.send_signal(signal.SIGHUP)

    def executed(self):
        """The method and path of each request that it has executed, if it logs them."""
        path = os.path.join(self.folder, "executed")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            return [line.strip() for line in file]

    def stop(self):
        for child in [*self.old, self.child]:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()

    @staticmethod
    def first_line(*command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return (done.stdout + done.stderr).strip().splitlines()[0]


class Nginx(Server):
    name = "nginx"
    graceful = signal.SIGQUIT

    @classmethod
    def version(cls):
        return cls.first_line(find("nginx"), "-v").split("/")[1]

    def configure(self):
        self.config = self.write(
            "nginx.conf",
            f"""
            daemon off;
            {"user root;" if os.getuid() == 0 else ""}
            worker_processes 1;
            pid nginx.pid;
            error_log stderr;
            events {{ worker_connections 1000; }}
            http {{
                log_format executed "$request_method $request_uri";
                access_log executed executed;
                client_body_temp_path body;
                keepalive_requests {REQUESTS_PER_CONNECTION};
                server {{
                    listen 127.0.0.1:{self.port} ssl http2;
                    ssl_certificate {self.chain};
                    ssl_certificate_key {self.key};
                    location / {{ return 200 $request_uri; }}
                }}
            }}
            """,
        )

    def command(self):
        return [find("nginx"), "-p", f"{self.folder}/", "-e", "stderr", "-c", self.config]


class HAProxy(Server):
    name = "haproxy"
    graceful = signal.SIGUSR1

    @classmethod
    def version(cls):
        return cls.first_line(find("haproxy"), "-v").split()[2]

    def configure(self):
        self.config = self.write(
            "haproxy.cfg",
            f"""
global
    nbthread 1
    hard-stop-after 20s
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend site
    bind 127.0.0.1:{self.port} ssl crt {self.pem} alpn h2,http/1.1
    option http-buffer-request
    http-request return status 200 content-type text/plain lf-string %[path]
""",
        )

    def command(self):
        return [find("haproxy"), "-W", "-f", self.config]

    def reload(self):
        self.child.send_signal(signal.SIGUSR2)


class Caddy(Server):
    name = "caddy"

    @classmethod
    def version(cls):
        return cls.first_line(find("caddy"), "version")

    def configure(self):
        self.turn = 0
        self.rewrite()

    def rewrite(self):
        """Each configuration differs, since Caddy ignores one that doesn't."""
        self.turn += 1
        self.config = self.write(
            "Caddyfile",
            f"""
{{
    admin unix//{self.folder}/admin.sock
    auto_https off
    grace_period 10s
    servers {{
        protocols h1 h2
    }}
}}
https://localhost:{self.port} {{
    bind 127.0.0.1
    tls {self.chain} {self.key}
    header X-Turn {self.turn}
    respond "{{uri}}"
}}
""",
        )

    def command(self):
        environment = ["env", f"HOME={self.folder}", "GOMAXPROCS=1"]
        command = [find("caddy"), "run", "--config", self.config, "--adapter", "caddyfile"]
        return [*environment, *command]

    def reload(self):
        self.rewrite()
        address = f"unix//{self.folder}/admin.sock"
        subprocess.run(
            [find("caddy"), "reload", "--address", address, "--config", self.config]
            + ["--adapter", "caddyfile"],
            check=True, capture_output=True, timeout=30, env={**os.environ, "HOME": self.folder},
        )


class Node(Server):
    """Ends each connection with GOAWAY after a short time, and all of them before it exits."""

    name = "node"
    reloads = False
    program = r"""
const http2 = require("http2"), fs = require("fs");
const [port, chain, key, seconds] = process.argv.slice(2);
const pair = { cert: fs.readFileSync(chain), key: fs.readFileSync(key) };
const server = http2.createSecureServer(pair);
const log = fs.openSync("executed", "a");
const sessions = new Set();
server.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
  setTimeout(() => session.destroyed || session.close(), seconds * 1000 * (0.5 + Math.random()));
});
server.on("stream", (stream, fields) => {
  stream.on("error", () => {});
  stream.resume();
  stream.on("end", () => {
    fs.writeSync(log, fields[":method"] + " " + fields[":path"] + "\n");
    stream.respond({ ":status": 200 });
    stream.end(fields[":path"]);
  });
});
process.on("SIGTERM", () => {
  server.close();
  for (const session of sessions) session.close();
});
server.listen(Number(port), "127.0.0.1");
"""

    @classmethod
    def version(cls):
        return cls.first_line(find("node"), "--version")

    def configure(self):
        self.script = self.write("server.js", self.program)

    def command(self):
        place = [str(self.port), self.chain, self.key, str(SECONDS_PER_CONNECTION)]
        return [find("node"), self.script, *place]


class GRPC(Server):
    """grpcio. A call is answered with its own message.

    When it stops, it cancels calls that it has received but not begun, also without a proxy.
    """

    name = "grpcio"
    reloads = False
    ends_cleanly = False
    is_grpc = True
    # The age of connections at their GOAWAY; empty for no limit.
    age = [str(SECONDS_PER_CONNECTION)]

    @classmethod
    def version(cls):
        code = "import grpc; print(grpc.__version__)"
        return cls.first_line("env", f"PYTHONPATH={TOOLS}", "/usr/bin/python3", "-c", code)

    def command(self):
        script = os.path.join(FOLDER, "grpc_server.py")
        place = [str(self.port), self.chain, self.key, *self.age]
        return ["env", f"PYTHONPATH={TOOLS}", "/usr/bin/python3", script, *place]


SERVERS = {server.name: server for server in (Nginx, HAProxy, Caddy, Node, GRPC)}
