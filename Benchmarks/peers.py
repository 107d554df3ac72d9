"""The backend and the load balancers under test, each with its whole configuration.

One worker each, access logs off, connections to the backend kept alive as each project's own
documentation says, all else at its defaults. The tuned variants lift the defaults that cost nginx
and HAProxy most with large bodies. Martlet's configuration is in `Martlet` and nowhere else.
"""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from processes import Failure, Process, free_ports

# HAProxy wants two descriptors for each, and 20,000 in all is what a machine may allow.
CONNECTIONS_MAX = 8_000
# Martlet's first choice; left alone, the others let the client choose, and wrk asks for AES-256.
CIPHER_SUITE = "TLS_AES_128_GCM_SHA256"
SMALL = b"Hello, world!"
# Path on every peer -> bytes of the answer's body.
PATHS = {"/small": len(SMALL), "/1k": 1024, "/64k": 64 * 1024, "/1m": 1024 * 1024}
# Pages with what they are made of: of ten answers six are small, three of 1 KiB, one of 64.
MIXED_PATHS = ("/small", "/1k", "/small") * 3 + ("/64k",)
POST_PATH = "/post"
POST_ANSWER = b"received"


@dataclass(frozen=True)
class Shape:
    """How a peer is run: most rows are measured on the same one, some need another."""

    workers: int = 1
    log: bool = False
    backends: int = 1


def find(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
    if path is None:
        raise Failure(f"'{program}' is not installed: run scripts/set-up bench")
    return path


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def nginx_frame(folder, name, http, workers=1):
    """What any nginx of ours needs to keep to its folder."""
    place = os.path.join(folder, name)
    os.makedirs(place, exist_ok=True)
    user = "user root;" if os.getuid() == 0 else ""
    return write(
        os.path.join(place, "nginx.conf"),
        f"""
        {user}
        daemon off;
        worker_processes {workers};
        worker_rlimit_nofile {2 * CONNECTIONS_MAX + 1000};
        pid {place}/nginx.pid;
        error_log {place}/error.log;
        events {{ worker_connections {2 * CONNECTIONS_MAX + 1000}; }}
        http {{
            access_log off;
            client_body_temp_path {place}/body;
            proxy_temp_path {place}/proxy;
            fastcgi_temp_path {place}/fastcgi;
            uwsgi_temp_path {place}/uwsgi;
            scgi_temp_path {place}/scgi;
            # As in Debian's nginx.conf.
            sendfile on;
            tcp_nopush on;
            # Defaults close a connection every 1000 requests, which would add handshakes.
            keepalive_requests 1000000000;
            {http}
        }}
        """,
    )


def make_certificates(folder):
    """For 127.0.0.1 and localhost, ECDSA P-256 and RSA 2048; HAProxy wants all in one file."""
    bases = {}
    keys = {"ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",)}
    for kind, key in keys.items():
        base = bases[kind] = os.path.join(folder, kind)
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", *key),
                *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-keyout", f"{base}.key", "-out", f"{base}.crt"),
            ],
            check=True,
            capture_output=True,
            timeout=30,
        )
        with open(f"{base}.pem", "w") as pem:
            for end in ("crt", "key"):
                with open(f"{base}.{end}") as part:
                    pem.write(part.read())
    return bases


class Backend:
    """What all peers share: small answer, two files, and a sink for POST.

    It listens on 100 ports of each of `host_count` addresses of this machine, 25 of them to an
    nginx, since each has only so many file descriptors.
    """

    PORT_COUNT, HOSTS_PER_PROCESS = 100, 25

    def __init__(self, folder, core, host_count=1):
        ports = free_ports(self.PORT_COUNT)
        hosts = [f"127.0.0.{number}" for number in range(1, host_count + 1)]
        self.addresses = [f"{host}:{port}" for host in hosts for port in ports]
        self.files = os.path.join(folder, "files")
        os.makedirs(self.files)
        for path, byte_count in PATHS.items():
            if path != "/small":
                with open(self.files + path, "wb") as file:
                    file.write(b"m" * byte_count)
        self.processes = []
        try:
            for start in range(0, host_count, self.HOSTS_PER_PROCESS):
                part = [
                    f"{host}:{port}"
                    for host in hosts[start : start + self.HOSTS_PER_PROCESS]
                    for port in ports
                ]
                config = self.config(folder, f"backend-{start}", part)
                command = [find("nginx"), "-p", folder, "-e", "stderr", "-c", config]
                process = Process(f"backend-{start}", command, core, folder)
                self.processes.append(process)
                process.wait_for_port(ports[0], host=hosts[start])
        except BaseException:
            self.stop()
            raise

    def config(self, folder, name, addresses):
        listens = "".join(f"listen {address} backlog=4096;" for address in addresses)
        return nginx_frame(
            folder,
            name,
            f"""
            keepalive_timeout 1h;
            client_body_buffer_size 2m;
            client_max_body_size 2m;
            upstream self {{
                server {addresses[0]};
                keepalive 64;
                keepalive_requests 1000000000;
            }}
            server {{
                {listens}
                root {self.files};
                location = /small {{ return 200 "{SMALL.decode()}"; }}
                # Passing a request on makes nginx read the whole body first. A plain `return`
                # answers before the body has come, which not every peer takes well.
                location = {POST_PATH} {{
                    proxy_pass http://self/received;
                    proxy_method GET;
                    proxy_pass_request_body off;
                    proxy_set_header Content-Length "";
                    proxy_set_header Connection "";
                    proxy_http_version 1.1;
                }}
                location = /received {{ return 200 "{POST_ANSWER.decode()}"; }}
            }}
            """,
        )

    def stop(self):
        for process in self.processes:
            process.stop()


class Peer:
    """A load balancer in front of the backend: TLS with ECDSA and with RSA, and plain."""

    name = ""
    start_seconds = 10

    def __init__(self, folder, cores, backend, certificates, shape=Shape()):
        self.folder = tempfile.mkdtemp(prefix=f"{self.name}-", dir=folder)
        self.certificates, self.shape = certificates, shape
        self.backends = backend.addresses[: shape.backends]
        self.ports = dict(zip(("tls", "rsa", "plain"), free_ports(3)))
        self.log = os.path.join(self.folder, "access.log")
        self.process = Process(self.name, self.command(), cores, self.folder)
        try:
            for port in self.ports.values():
                self.process.wait_for_port(port, self.start_seconds)
        except BaseException:
            self.process.stop()
            raise

    def stop(self):
        self.process.stop()


class Nginx(Peer):
    name = "nginx"
    tuning = ""
    log_tuning = ""

    @staticmethod
    def version():
        return first_line(find("nginx"), "-v")

    def command(self):
        servers = "".join(f"server {backend};" for backend in self.backends)
        log = f"access_log {self.log} combined{self.log_tuning};" if self.shape.log else ""
        places = "".join(
            f"""
            server {{
                {listen}
                # As in Debian's nginx.conf; what is compiled in ends at TLS 1.2.
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_conf_command Ciphersuites {CIPHER_SUITE};
                # One that all workers share, as Debian's comments and the documentation advise.
                ssl_session_cache shared:TLS:10m;
                keepalive_timeout 10m;
                client_max_body_size 2m;
                {log}
                {self.tuning}
                location / {{
                    proxy_pass http://backend;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_set_header Host $host;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header X-Forwarded-Proto $scheme;
                }}
            }}
            """
            for listen in (
                f"listen 127.0.0.1:{self.ports['plain']} backlog=4096;" + self.tls("tls", "ecdsa"),
                self.tls("rsa", "rsa"),
            )
        )
        config = nginx_frame(
            self.folder,
            self.name,
            f"""
            upstream backend {{
                {servers}
                keepalive {CONNECTIONS_MAX};
                keepalive_requests 1000000000;
                keepalive_timeout 1h;
            }}
            {places}
            """,
            workers=self.shape.workers,
        )
        return [find("nginx"), "-p", self.folder, "-e", "stderr", "-c", config]

    def tls(self, port, certificate):
        base = self.certificates[certificate]
        return f"""
                listen 127.0.0.1:{self.ports[port]} ssl backlog=4096;
                ssl_certificate {base}.crt;
                ssl_certificate_key {base}.key;
        """


class TunedNginx(Nginx):
    name = "nginx-tuned"
    tuning = """
                proxy_request_buffering off;
                proxy_buffer_size 64k;
                proxy_buffers 16 64k;
                proxy_busy_buffers_size 128k;
    """
    log_tuning = " buffer=64k flush=1s"


class HAProxy(Peer):
    name = "haproxy"
    tuning = ""

    @staticmethod
    def version():
        return first_line(find("haproxy"), "-v")

    def command(self):
        log = "log stdout format raw local0\n    option httplog" if self.shape.log else ""
        servers = "\n".join(
            f"    server backend{index} {address}" for index, address in enumerate(self.backends)
        )
        binds = "\n".join(
            f"    bind 127.0.0.1:{self.ports[port]} ssl crt {self.certificates[kind]}.pem "
            f"ciphersuites {CIPHER_SUITE}"
            for port, kind in (("tls", "ecdsa"), ("rsa", "rsa"))
        )
        config = write(
            os.path.join(self.folder, "haproxy.cfg"),
            f"""
global
    nbthread {self.shape.workers}
    maxconn {CONNECTIONS_MAX}
    {self.tuning}
defaults
    mode http
    http-reuse always
    option forwardfor
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout http-keep-alive 10m
frontend edge
    bind 127.0.0.1:{self.ports['plain']}
{binds}
    {log}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    default_backend pool
backend pool
{servers}
""",
        )
        return [find("haproxy"), "-db", "-f", config]


class TunedHAProxy(HAProxy):
    name = "haproxy-tuned"
    tuning = "tune.bufsize 65536"


class Martlet(Peer):
    name = "martlet"
    binary = None

    @classmethod
    def version(cls):
        if cls.binary is None or not os.access(cls.binary, os.X_OK):
            raise Failure(f"there is no Martlet to run at {cls.binary}: build it, or give --binary")
        return "martlet " + first_line(cls.binary, "--version")

    def configuration(self):
        # On the same terms as the others: connections are kept as long as theirs.
        def tls(port, kind):
            base = self.certificates[kind]
            certificate = {"chain": f"{base}.crt", "key": f"{base}.key"}
            address = f"127.0.0.1:{self.ports[port]}"
            return {"listen": address, "tls": {"certificates": [certificate]}}

        config = {
            "workers": self.shape.workers,
            "listeners": [
                tls("tls", "ecdsa"),
                tls("rsa", "rsa"),
                {"listen": f"127.0.0.1:{self.ports['plain']}"},
            ],
            "pools": [
                {
                    "backends": self.backends,
                    "keep-alive": {"idle": "3600s", "max-idle": CONNECTIONS_MAX},
                }
            ],
            "limits": {
                "requests-per-connection": 100_000_000,
                "connections-per-address": 10_000,
                "keep-alive": "600s",
            },
            "log": {"access": "json" if self.shape.log else "off", "level": "warning"},
        }
        if self.shape.log:
            config["log"]["target"] = self.log
        return config

    def command(self):
        path = os.path.join(self.folder, "martlet.json")
        write(path, json.dumps(self.configuration()))
        return [self.binary, "run", "--config", path]


class Caddy(Peer):
    """For what its users see: a balancer in a language that collects its garbage."""

    name = "caddy"

    @staticmethod
    def version():
        return "caddy " + first_line(find("caddy"), "version")

    def command(self):
        def site(scheme, port, kind=None):
            base = self.certificates[kind] if kind else None
            tls = f"tls {base}.crt {base}.key" if base else ""
            log = f"log {{\n output file {self.log}\n }}" if self.shape.log else ""
            return f"""
{scheme}://:{self.ports[port]} {{
    bind 127.0.0.1
    {tls}
    {log}
    reverse_proxy {" ".join(self.backends)} {{
        transport http {{
            keepalive 1h
            keepalive_idle_conns_per_host {CONNECTIONS_MAX}
        }}
    }}
}}
"""

        config = write(
            os.path.join(self.folder, "Caddyfile"),
            "{\n    admin off\n    auto_https off\n    servers {\n        protocols h1\n    }\n}\n"
            + site("https", "tls", "ecdsa")
            + site("https", "rsa", "rsa")
            + site("http", "plain"),
        )
        # As many threads as the others have.
        environment = ["env", f"GOMAXPROCS={self.shape.workers}", f"HOME={self.folder}"]
        return [*environment, find("caddy"), "run", "--config", config, "--adapter", "caddyfile"]


PEERS = {
    peer.name: peer for peer in (Martlet, Nginx, HAProxy, TunedNginx, TunedHAProxy, Caddy)
}
