"""Transparent mode in network namespaces: nginx sees the clients' addresses through Martlet.

    client -- gateway with Martlet -- nginx

with IPv4 and IPv6, TCP, HTTP and UDP (to a small server instead of nginx). The routes are those of
docs/operators/transparent.md. Without nftables, every packet from the backend's side that belongs
to no address of the gateway is delivered to it, which is enough here.
"""

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import threading

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from namespaces import Host, cable, enter, programs  # noqa: E402
from proxies import Failure, find, until  # noqa: E402

RULES = """
table inet martlet {
  chain prerouting {
    type filter hook prerouting priority mangle;
    meta l4proto { tcp, udp } socket transparent 1 meta mark set 1
  }
}
"""
TCP_PORTS, UDP_PORTS = (5004, 5006, 8004, 8006), (6004, 6006)
CLIENTS = ["10.70.0.1", "10.70.0.2", "fd00:70::1", "fd00:70::2"]


def build():
    client, gateway, server = Host("client"), Host("gateway"), Host("server")
    cable(client, "outer", gateway, "clients")
    cable(server, "outer", gateway, "servers")
    # Without `nodad`, an IPv6 address can't be used for some time.
    for host, port, addresses in (
        (client, "outer", ["10.80.0.2/24", "fd00:80::2/64"]),
        (gateway, "clients", ["10.80.0.1/24", "fd00:80::1/64"]),
        (gateway, "servers", ["10.81.0.1/24", "fd00:81::1/64"]),
        (server, "outer", ["10.81.0.2/24", "fd00:81::2/64"]),
    ):
        for address in addresses:
            host.ip(f"addr add {address} dev {port}" + (" nodad" if ":" in address else ""))
    for family, mine, theirs in (("-4", "10.80.0", "10.81.0"), ("-6", "fd00:80:", "fd00:81:")):
        dot = "." if family == "-4" else ":"
        client.ip(f"{family} route add default via {mine}{dot}1")
        server.ip(f"{family} route add default via {theirs}{dot}1")
        clients = "10.70.0.0/24" if family == "-4" else "fd00:70::/64"
        client.ip(f"{family} route add local {clients} dev lo")
        gateway.ip(f"{family} route add {clients} via {mine}{dot}2")
        everywhere = "0.0.0.0/0" if family == "-4" else "::/0"
        gateway.ip(f"{family} route add local {everywhere} dev lo table 100")
        way = "fwmark 1" if shutil.which("nft", path="/usr/sbin:/sbin") else "iif servers"
        gateway.ip(f"{family} rule add {way} lookup 100")
    for each in ("all", "clients", "servers"):
        gateway.set(f"ipv4.conf.{each}.rp_filter", 0)
    client.set("ipv6.ip_nonlocal_bind", 1)
    return client, gateway, server


def start_nginx(server, folder):
    config = os.path.join(folder, "nginx.conf")
    with open(config, "w") as file:
        file.write(
            f"""
            daemon off; master_process off; pid {folder}/pid;
            error_log stderr; events {{}}
            http {{
                access_log off; client_body_temp_path {folder}/body;
                proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
                uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
                server {{
                    listen 8080; listen [::]:8080;
                    return 200 "$remote_addr $server_addr\\n";
                }}
            }}
            """
        )
    command = [find("nginx"), "-p", folder, "-e", "stderr", "-c", config]
    return server.start(command, os.path.join(folder, "nginx.log"))


def configuration(folder, source):
    def pool(name, address):
        return {"name": name, "source-address": source, "backends": [f"{address}:8080"],
                "health": "off"}  # fmt: skip

    def both(port):
        return [f"10.80.0.1:{port}", f"[fd00:80::1]:{port}"]

    return {
        "workers": 2,
        "listeners": [
            {"name": "tcp4", "listen": both(5004), "protocol": "tcp", "pool": "tcp4"},
            {"name": "tcp6", "listen": both(5006), "protocol": "tcp", "pool": "tcp6"},
            {"name": "udp4", "listen": both(6004), "protocol": "udp", "pool": "udp4"},
            {"name": "udp6", "listen": both(6006), "protocol": "udp", "pool": "udp6"},
            {"name": "web4", "listen": both(8004)},
            {"name": "web6", "listen": both(8006)},
        ],
        "pools": [
            pool("tcp4", "10.81.0.2"), pool("tcp6", "[fd00:81::2]"),
            pool("web4", "10.81.0.2"), pool("web6", "[fd00:81::2]"),
            pool("udp4", "10.81.0.2"), pool("udp6", "[fd00:81::2]"),
        ],
        "routes": [
            {"listeners": ["web4"], "forward": "web4"},
            {"listeners": ["web6"], "forward": "web6"},
        ],
        "admin": {"socket": os.path.join(folder, "admin.sock")},
        "log": {"access": "off"},
    }  # fmt: skip


def answer_datagrams(server):
    """Sends the address of the sender back."""
    with server.inside():
        receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.bind(("::", 8080))

    def answer():
        while True:
            _, sender = receiver.recvfrom(100)
            receiver.sendto(sender[0].removeprefix("::ffff:").encode(), sender)

    threading.Thread(target=answer, daemon=True).start()


def seen_datagrams(client, address, target, port):
    with client.inside():
        sender = socket.socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM
        )
    with sender:
        sender.settimeout(3)
        sender.bind((address, 0))
        sender.connect((target, port))
        seen = set()
        for _ in range(2):
            sender.send(b"who")
            seen.add(sender.recv(100).decode())
        return seen


def seen_address(client, address, port):
    """The address that the server sees, of two requests on one connection."""
    target = "fd00:80::1" if ":" in address else "10.80.0.1"
    if port in UDP_PORTS:
        return seen_datagrams(client, address, target, port)
    seen = set()
    with client.inside():
        connection = socket.create_connection((target, port), 3, (address, 0))
    with connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer or not answer.endswith(b"\n") \
                    or answer.endswith(b"\r\n"):
                chunk = connection.recv(4096)
                if not chunk:
                    raise Failure(f"{address} to port {port}: closed after {answer}")
                answer += chunk
            seen.add(answer.split(b"\r\n\r\n")[1].decode().split()[0])
    return seen


def serves(client):
    try:
        return bool(seen_address(client, "10.80.0.2", 5004))
    except (OSError, Failure):
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet binary")
    binary = os.path.abspath(parser.parse_args().binary)
    enter("transparent")
    programs("ip", "sysctl", "nginx")
    with tempfile.TemporaryDirectory(prefix="martlet-transparent-") as folder:
        client, gateway, server = build()
        start_nginx(server, folder)
        answer_datagrams(server)
        if shutil.which("nft", path="/usr/sbin:/sbin"):
            rules = os.path.join(folder, "rules")
            with open(rules, "w") as file:
                file.write(RULES)
            gateway.run("nft", "-f", rules)
        for source in ("own", "client"):
            path = os.path.join(folder, f"{source}.json")
            with open(path, "w") as file:
                json.dump(configuration(folder, source), file)
            log = os.path.join(folder, "log")
            martlet = gateway.start([binary, "run", "--config", path], log)
            try:
                until("Martlet serves", lambda: serves(client), 10)
                for address in CLIENTS:
                    for port in TCP_PORTS + UDP_PORTS:
                        is_same = (port % 10 == 6) == (":" in address)
                        own = "10.81.0.1" if port % 10 == 4 else "fd00:81::1"
                        wanted = address if source == "client" and is_same else own
                        if (seen := seen_address(client, address, port)) != {wanted}:
                            raise Failure(f"{address} to port {port}: it saw {seen}")
            except BaseException:
                with open(log, errors="replace") as file:
                    print(file.read()[-2000:], file=sys.stderr)
                raise
            finally:
                martlet.terminate()
                martlet.wait(10)
            what = "Martlet's" if source == "own" else "the client's, if it has the same family"
            cases = len(CLIENTS) * len(TCP_PORTS + UDP_PORTS)
            print(f"source-address {source}: the server saw {what}, in {cases} cases")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"transparent: {failure}")
