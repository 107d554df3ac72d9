"""The backend and the load balancers under test, each with its whole configuration.

One worker each, access logs off, connections to the backend kept alive as each project's own
documentation says, all else at its defaults. The tuned variants lift the defaults that cost nginx
and HAProxy most with large bodies. Martlet's configuration is in `Martlet` and nowhere else.
"""

import json
import os
import shutil
import subprocess

from processes import Failure, Process, free_port

# HAProxy wants two descriptors for each, and 20,000 in all is what a machine may allow.
CONNECTIONS_MAX = 8_000
# Martlet's first choice; left alone, the others let the client choose, and wrk asks for AES-256.
CIPHER_SUITE = "TLS_AES_128_GCM_SHA256"
SMALL = b"Hello, world!"
# Path on every peer -> bytes of the answer's body.
PATHS = {"/small": len(SMALL), "/64k": 64 * 1024, "/1m": 1024 * 1024}
POST_PATH = "/post"
POST_BYTE_COUNT = 64 * 1024
POST_ANSWER = b"received"


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


def nginx_frame(folder, name, http):
    """What any nginx of ours needs to keep to its folder and to one worker."""
    place = os.path.join(folder, name)
    os.makedirs(place, exist_ok=True)
    user = "user root;" if os.getuid() == 0 else ""
    return write(
        os.path.join(place, "nginx.conf"),
        f"""
        {user}
        daemon off;
        worker_processes 1;
        worker_rlimit_nofile {2 * CONNECTIONS_MAX + 1000};
        pid {place}/nginx.pid;
        error_log {place}/error.log;
        events {{ worker_connections {2 * CONNECTIONS_MAX}; }}
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


class Backend:
    """One nginx that all peers share: small answer, two files, and a sink for POST."""

    def __init__(self, folder, core):
        self.port = free_port()
        files = os.path.join(folder, "files")
        os.makedirs(files)
        for path, byte_count in PATHS.items():
            if path != "/small":
                with open(files + path, "wb") as file:
                    file.write(b"m" * byte_count)
        config = nginx_frame(
            folder,
            "backend",
            f"""
            keepalive_timeout 1h;
            client_body_buffer_size 128k;
            upstream self {{
                server 127.0.0.1:{self.port};
                keepalive 64;
                keepalive_requests 1000000000;
            }}
            server {{
                listen 127.0.0.1:{self.port} backlog=4096;
                root {files};
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
        command = [find("nginx"), "-p", folder, "-e", "stderr", "-c", config]
        self.process = Process("backend", command, core, folder)
        self.process.wait_for_port(self.port)

    def stop(self):
        self.process.stop()


class Peer:
    """A load balancer with one TLS and one plain listener in front of the backend."""

    name = ""

    def __init__(self, folder, core, backend_port, certificate):
        self.folder = folder
        self.certificate = certificate
        self.backend_port = backend_port
        self.tls_port, self.plain_port = free_port(), free_port()
        self.process = Process(self.name, self.command(), core, folder)
        try:
            self.process.wait_for_port(self.tls_port)
            self.process.wait_for_port(self.plain_port)
        except BaseException:
            self.process.stop()
            raise

    def stop(self):
        self.process.stop()


class Nginx(Peer):
    name = "nginx"
    tuning = ""

    @staticmethod
    def version():
        return first_line(find("nginx"), "-v")

    def command(self):
        config = nginx_frame(
            self.folder,
            self.name,
            f"""
            upstream backend {{
                server 127.0.0.1:{self.backend_port};
                keepalive 256;
                keepalive_requests 1000000000;
                keepalive_timeout 1h;
            }}
            server {{
                listen 127.0.0.1:{self.plain_port} backlog=4096;
                listen 127.0.0.1:{self.tls_port} ssl backlog=4096;
                ssl_certificate {self.certificate}.crt;
                ssl_certificate_key {self.certificate}.key;
                # As in Debian's nginx.conf; what is compiled in ends at TLS 1.2.
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_conf_command Ciphersuites {CIPHER_SUITE};
                keepalive_timeout 10m;
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
            """,
        )
        return [find("nginx"), "-p", self.folder, "-e", "stderr", "-c", config]


class TunedNginx(Nginx):
    name = "nginx-tuned"
    tuning = """
                proxy_request_buffering off;
                proxy_buffer_size 64k;
                proxy_buffers 16 64k;
                proxy_busy_buffers_size 128k;
    """


class HAProxy(Peer):
    name = "haproxy"
    tuning = ""

    @staticmethod
    def version():
        return first_line(find("haproxy"), "-v")

    def command(self):
        config = write(
            os.path.join(self.folder, f"{self.name}.cfg"),
            f"""
global
    nbthread 1
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
    bind 127.0.0.1:{self.plain_port}
    bind 127.0.0.1:{self.tls_port} ssl crt {self.certificate}.pem ciphersuites {CIPHER_SUITE}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    default_backend pool
backend pool
    server backend 127.0.0.1:{self.backend_port}
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

    def command(self):
        # The same terms as for the others: no access log, connections kept as long as theirs.
        certificate = {"chain": f"{self.certificate}.crt", "key": f"{self.certificate}.key"}
        config = {
            "workers": 1,
            "listeners": [
                {
                    "listen": f"127.0.0.1:{self.tls_port}",
                    "tls": {"certificates": [certificate]},
                },
                {"listen": f"127.0.0.1:{self.plain_port}"},
            ],
            # No peer makes ids for requests unless it is told to.
            "request-id": "off",
            "pools": [
                {
                    "backends": [f"127.0.0.1:{self.backend_port}"],
                    "keep-alive": {"idle": "3600s", "max-idle": 256},
                }
            ],
            "limits": {
                "requests-per-connection": 100_000_000,
                "connections-per-address": 10_000,
                "keep-alive": "600s",
            },
            "log": {"access": "off", "level": "warning"},
        }
        path = os.path.join(self.folder, "martlet.json")
        write(path, json.dumps(config, indent=2))
        return [self.binary, "run", "--config", path]


PEERS = {peer.name: peer for peer in (Martlet, Nginx, HAProxy, TunedNginx, TunedHAProxy)}
