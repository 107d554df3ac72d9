"""The configurations of the peers as load balancers of TCP and UDP.

peers.py has the peers, and their configurations for HTTP. Here too each has one worker, no access
log, and default values for everything else. The backend of TCP is the nginx of the HTTP rows, so
the load is the same; the peers don't read it. HAProxy has no UDP, and Caddy neither.
"""

import json
import os

from backends import CIPHER_SUITE, CONNECTIONS_MAX, find, nginx_frame, write


def nginx(peer):
    """nginx with the module `stream`."""
    servers = "".join(f"server {backend};" for backend in peer.backends)
    places = ""
    for port, number in peer.ports.items():
        kind = peer.kinds[port]
        base = peer.certificates.get(kind)
        secure = f"""
            ssl_certificate {base}.crt;
            ssl_certificate_key {base}.key;
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_conf_command Ciphersuites {CIPHER_SUITE};
            ssl_session_cache shared:TLS:10m;
        """
        listen = "udp" if port == "udp" else "ssl backlog=4096" if kind else "backlog=4096"
        places += f"""
        server {{
            listen 127.0.0.1:{number} {listen};
            {secure if kind else ""}
            {peer.stream_tuning}
            proxy_pass backend;
        }}
        """
    stream = f"upstream backend {{ {servers} }} {places}"
    config = nginx_frame(
        peer.folder, peer.name, stream=stream, workers=peer.shape.workers
    )
    return [find("nginx"), "-p", peer.folder, "-e", "stderr", "-c", config]


def haproxy(peer):
    """HAProxy with mode tcp."""
    servers = "\n".join(
        f"    server backend{index} {address}" for index, address in enumerate(peer.backends)
    )
    # For splicing. By default there are more, and too many for a limit of 20,000 open files.
    pipes = "maxpipes 1000" if peer.stream_tuning else ""
    binds = ""
    for port, number in peer.ports.items():
        kind = peer.kinds[port]
        secure = f" ssl crt {peer.certificates.get(kind)}.pem ciphersuites {CIPHER_SUITE}"
        binds += f"    bind 127.0.0.1:{number}{secure if kind else ''}\n"
    config = write(
        os.path.join(peer.folder, "haproxy.cfg"),
        f"""
global
    nbthread {peer.shape.workers}
    maxconn {CONNECTIONS_MAX}
    {peer.tuning}
    {pipes}
defaults
    mode tcp
    {peer.stream_tuning}
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend edge
{binds}
    default_backend pool
backend pool
{servers}
""",
    )
    return [find("haproxy"), "-db", "-f", config]


def martlet(peer):
    listeners = []
    for port, number in peer.ports.items():
        kind = peer.kinds[port]
        listener = {
            "listen": f"127.0.0.1:{number}",
            "protocol": "udp" if port == "udp" else "tcp",
            "pool": "backend",
        }
        if kind:
            base = peer.certificates[kind]
            certificate = {"chain": f"{base}.crt", "key": f"{base}.key"}
            listener["tls"] = {"certificates": [certificate]}
        listeners.append(listener)
    config = {
        "workers": peer.shape.workers,
        "listeners": listeners,
        "pools": [{"name": "backend", "backends": peer.backends}],
        "limits": {"connections-per-address": 10_000},
        "log": {"access": "off", "level": "warning"},
    }
    # nginx and Envoy check nothing by themselves, and a name server expects more than a datagram.
    if peer.shape.upstream == "udp":
        config["pools"][0]["health"] = "off"
    path = os.path.join(peer.folder, "martlet.json")
    write(path, json.dumps(config))
    return [peer.binary, "run", "--config", path]


def envoy_listener(peer, port):
    """A listener of Envoy with `tcp_proxy` or `udp_proxy`; peers.py has the rest."""
    types = "type.googleapis.com/envoy.extensions.filters"
    address = {"address": "127.0.0.1", "port_value": peer.ports[port]}
    if port == "udp":
        kind = f"{types}.udp.udp_proxy.v3"
        route = {"@type": f"{kind}.Route", "cluster": "backend"}
        proxy = {
            "@type": f"{kind}.UdpProxyConfig",
            "stat_prefix": port,
            "matcher": {"on_no_match": {"action": {"name": "route", "typed_config": route}}},
        }
        return {
            "name": port,
            "address": {"socket_address": {**address, "protocol": "UDP"}},
            "udp_listener_config": {},
            "listener_filters": [
                {"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": proxy}
            ],
        }
    proxy = {
        "@type": f"{types}.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": port,
        "cluster": "backend",
    }
    chain = {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
    return {
        "name": port,
        "address": {"socket_address": address},
        "filter_chains": [chain],
    }
