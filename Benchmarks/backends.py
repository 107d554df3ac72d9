"""The backends of all peers, and what a configuration of nginx needs.

nginx answers over HTTP/1.1, and over HTTP/2 with TLS. nghttpd answers over HTTP/2 without TLS: it
needs the least time, and can send the trailers of gRPC.
"""

import os
import shutil
import subprocess

from processes import Failure, Process, free_ports

# HAProxy needs two file descriptors for each, and some machines allow only 20,000 in total.
CONNECTIONS_MAX = 8_000
# Martlet's first choice. By default the others let the client choose, and wrk prefers AES-256.
CIPHER_SUITE = "TLS_AES_128_GCM_SHA256"
SMALL = b"Hello, world!"
# Path on every peer -> bytes of the response body.
PATHS = {"/small": len(SMALL), "/1k": 1024, "/64k": 64 * 1024, "/1m": 1024 * 1024}
# Mixed pages: of ten responses, six are small, three have 1 KiB, one has 64 KiB.
MIXED_PATHS = ("/small", "/1k", "/small") * 3 + ("/64k",)
POST_PATH = "/post"
POST_ANSWER = b"received"
# A unary gRPC call. nghttpd serves a file, and chooses the content type by its name.
GRPC_PATH = "/bench.Echo/Say.grpc"
GRPC_MESSAGE = b"\0\0\0\0\x40" + b"m" * 64


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


# Debian has it in a package of its own; other builds may contain it.
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def nginx_frame(folder, name, http="", workers=1, stream=""):
    """The configuration that every nginx needs to write only to its folder."""
    place = os.path.join(folder, name)
    os.makedirs(place, exist_ok=True)
    user = "user root;" if os.getuid() == 0 else ""
    if stream:
        module = f"load_module {STREAM_MODULE};" if os.path.exists(STREAM_MODULE) else ""
        user, stream = module + user, f"stream {{ {stream} }}"
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
            # By default nginx closes a connection after 1000 requests, which would add handshakes.
            keepalive_requests 1000000000;
            {http}
        }}
        {stream}
        """,
    )


def make_certificates(folder):
    """For 127.0.0.1 and localhost, ECDSA P-256 and RSA 2048; HAProxy needs one file."""
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
    """The backend of all peers: a small response, files, and a path that accepts POST.

    It listens on 100 ports of each of `host_count` loopback addresses. Each nginx process has 25
    ports, because its number of file descriptors is limited.
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
                # To proxy a request, nginx first reads the whole body. A plain `return` would
                # answer before the body is complete, which some peers don't handle well.
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


class SecureBackend:
    """nginx with TLS. The load balancer chooses HTTP/1.1 or HTTP/2 by ALPN."""

    def __init__(self, folder, core, certificate):
        port = free_ports(1)[0]
        self.addresses = [f"127.0.0.1:{port}"]
        config = nginx_frame(
            folder,
            "secure",
            f"""
            keepalive_timeout 1h;
            server {{
                listen {self.addresses[0]} ssl http2 backlog=4096;
                ssl_certificate {certificate}.crt;
                ssl_certificate_key {certificate}.key;
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_conf_command Ciphersuites {CIPHER_SUITE};
                location = /small {{ return 200 "{SMALL.decode()}"; }}
            }}
            """,
        )
        command = [find("nginx"), "-p", folder, "-e", "stderr", "-c", config]
        self.process = Process("secure", command, core, folder)
        self.process.wait_for_port(port)

    def stop(self):
        self.process.stop()


class HTTP2Backend:
    """nghttpd: HTTP/2 without TLS, for small responses or for gRPC."""

    def __init__(self, folder, core, upstream):
        port = free_ports(1)[0]
        self.addresses = [f"127.0.0.1:{port}"]
        place = os.path.join(folder, upstream)
        for path, content in (("/small", SMALL), (GRPC_PATH, GRPC_MESSAGE)):
            os.makedirs(os.path.dirname(place + path), exist_ok=True)
            with open(place + path, "wb") as file:
                file.write(content)
        types = write(os.path.join(place, "types"), "application/grpc grpc\n")
        command = [find("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", place]
        if upstream == "grpc":
            command += ["--mime-types-file", types, "--trailer", "grpc-status: 0"]
        self.process = Process(f"backend-{upstream}", [*command, str(port)], core, folder)
        self.process.wait_for_port(port)

    def stop(self):
        self.process.stop()
