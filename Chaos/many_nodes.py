"""Three Martlet nodes behind one route of equal cost, in network namespaces.

    clients -- router ==ECMP==> node1, node2, node3 -- switch -- four backends

All nodes have one address, to which the router has three next hops. It hashes the ports too, so the
connections of a client come to different nodes. This shows, and fails otherwise: the same client or
key reaches the same backend through any node; if a node is killed, only its connections break; a
node that is drained gets no new connections, and loses none.

The router follows /readyz of the nodes, as BIRD or another daemon does in production.
"""

import argparse
import asyncio
import collections
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from namespaces import Host, Switch, cable, enter, programs  # noqa: E402
from proxies import Failure, until  # noqa: E402

ADDRESS, TCP_PORT, WEB_PORT = "10.90.0.1", 5000, 80
BACKENDS = [f"10.81.0.{100 + number}" for number in range(1, 5)]
NODES = (1, 2, 3)
BUCKETS = 4096
# A bucket of the router that was quiet for so long may move to another node. A slow machine is
# quiet for some seconds between two questions.
QUIET_SECONDS, DRAIN_QUIET_SECONDS = 60, 3
CLIENTS, TRIES, KEPT = 200, 6, 300


# Backends: on each address, a port for TCP and one for HTTP. Both say who they are, and which node
# has connected.


async def talk(reader, writer):
    host, _ = writer.get_extra_info("sockname")
    who = f"{host} {writer.get_extra_info('peername')[0]}\n".encode()
    try:
        while line := await reader.readline():
            if line.startswith(b"GET "):
                while (await reader.readline()).strip():
                    pass
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(who)}\r\n\r\n"
                writer.write(head.encode() + who)
            else:
                writer.write(who)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve():
    for host in BACKENDS:
        for port in (7000, 7001):
            await asyncio.start_server(talk, host, port, backlog=1024)
    print("ready", flush=True)
    await asyncio.Event().wait()


class Node:
    """A host with Martlet, and the address that all nodes have."""

    def __init__(self, number, router, switch, folder, binary):
        self.number, self.binary, self.router = number, binary, router
        self.inner = f"10.81.0.{number}"
        self.outer = f"10.80.{number}.2"
        self.host = Host(f"node{number}")
        cable(self.host, "outer", router, f"to-node{number}")
        router.ip(f"addr add 10.80.{number}.1/24 dev to-node{number}")
        self.host.ip(f"addr add {self.outer}/24 dev outer")
        self.host.ip(f"addr add {ADDRESS}/32 dev lo")
        switch.join(self.host, "inner", f"{self.inner}/24")
        self.host.ip(f"route add default via 10.80.{number}.1")
        self.folder = os.path.join(folder, f"node{number}")
        os.makedirs(self.folder)
        self.config = os.path.join(self.folder, "config.json")
        with open(self.config, "w") as file:
            json.dump(self.configuration(), file, indent=2)
        self.child = None

    def configuration(self):
        def pool(name, port, key):
            return {
                "name": name, "strategy": "maglev", "hash-key": key, "ejection": "off",
                "health": {"interval": "1s"}, "backends": [f"{host}:{port}" for host in BACKENDS],
            }  # fmt: skip

        return {
            "workers": 1,
            "listeners": [
                {"name": "tcp", "listen": f"{ADDRESS}:{TCP_PORT}", "protocol": "tcp",
                 "pool": "tcp"},
                {"name": "web", "listen": f"{ADDRESS}:{WEB_PORT}"},
            ],
            "pools": [pool("tcp", 7000, "source"), pool("web", 7001, "header:X-Key")],
            "routes": [{"listeners": ["web"], "forward": "web"}],
            "admin": {"socket": os.path.join(self.folder, "admin.sock")},
            "limits": {"lame-duck": "1s", "drain": "30s"},
            "log": {"access": "off"},
        }  # fmt: skip

    def start(self):
        log = os.path.join(self.folder, "log")
        self.child = self.host.start([self.binary, "run", "--config", self.config], log)

    @property
    def status(self):
        """What /readyz of the admin interface answers; 0 if nothing answers."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(0.5)
            try:
                client.connect(os.path.join(self.folder, "admin.sock"))
                client.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return int(client.recv(4096).split()[1])
            except (OSError, IndexError):
                return 0


class Route:
    """The router's route to the nodes, which follows /readyz.

    A group of next hops is `resilient`: when it changes, only the buckets of a node that is gone
    move, and quiet ones. With weight 1 of 256 a node gets no buckets, so no new connections, but
    keeps the buckets that are in use. A plain group (`mpath`) hashes all anew.
    """

    def __init__(self, router, nodes, kind):
        self.router, self.nodes, self.kind = router, nodes, kind
        self.weights = {}
        self.quiet = QUIET_SECONDS
        self.ended = threading.Event()
        for node in nodes:
            device = f"to-node{node.number}"
            router.ip(f"nexthop add id {node.number} via {node.outer} dev {device}")
        self.update()
        router.ip(f"route add {ADDRESS}/32 nhid 10")
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def update(self):
        found = {node.number: node.status for node in self.nodes}
        weights = {
            number: 255 if status == 200 else 1 for number, status in found.items() if status
        }
        if weights == self.weights or not weights:
            return
        group = "/".join(f"{number},{weight}" for number, weight in weights.items())
        kind = f"type {self.kind}"
        if self.kind == "resilient":
            kind += f" buckets {BUCKETS} idle_timer {self.quiet} unbalanced_timer 0"
        self.router.ip(f"nexthop replace id 10 group {group} {kind}")
        self.weights = weights

    def follow(self):
        while not self.ended.wait(0.1):
            self.update()

    def end(self):
        self.ended.set()
        self.thread.join()
        self.router.ip(f"route del {ADDRESS}/32")
        for number in (10, *NODES):
            self.router.ip(f"nexthop del id {number}")


class Client:
    """A connection from an address; knows its backend and its node."""

    def __init__(self, host, address, port=TCP_PORT):
        with host.inside():
            self.socket = socket.create_connection(
                (ADDRESS, port), timeout=2, source_address=(address, 0)
            )

    def ask(self, key=None):
        """The backend and the node; raises OSError if the connection is broken."""
        request, end = b"who\n", b""
        if key is not None:
            request = f"GET / HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\n\r\n".encode()
            end = b"\r\n\r\n"
        self.socket.sendall(request)
        answer = b""
        while end not in answer or not answer.endswith(b"\n") or answer.endswith(end or b"-"):
            chunk = self.socket.recv(4096)
            if not chunk:
                raise ConnectionResetError("closed")
            answer += chunk
        line = answer.split(end)[-1] if end else answer
        self.backend, self.node = line.decode().split()
        return self.backend, self.node

    def close(self):
        self.socket.close()


def client_address(number):
    return f"10.70.{number // 200}.{number % 200 + 1}"


def agreement(host):
    """Each client and each key has one backend, through all nodes."""
    for what in ("client", "key"):
        seen, through = collections.defaultdict(set), collections.defaultdict(set)
        for attempt in range(TRIES):
            for number in range(CLIENTS):
                address = client_address(number if what == "client" else number + attempt)
                client = Client(host, address, TCP_PORT if what == "client" else WEB_PORT)
                backend, node = client.ask(number if what == "key" else None)
                client.close()
                seen[number].add(backend)
                through[number].add(node)
        used = set().union(*through.values())
        several = sum(len(nodes) > 1 for nodes in through.values())
        torn = sum(len(backends) > 1 for backends in seen.values())
        shares = collections.Counter(next(iter(backends)) for backends in seen.values())
        print(
            f"{CLIENTS} {what}s, {CLIENTS * TRIES} connections through {len(used)} nodes;"
            f" {several} {what}s came through several nodes, {torn} to several backends;"
            f" shares {sorted(shares.values())}"
        )
        if torn or len(used) < len(NODES) or len(shares) < len(BACKENDS) or not several:
            raise Failure(f"the nodes don't agree about a {what}, or not all are used")


def open_many(host):
    clients = [Client(host, client_address(number)) for number in range(KEPT)]
    for client in clients:
        client.ask()
    return clients


def broken(clients):
    """Those whose connection is broken, and those that found another backend."""
    lost = []
    for client in clients:
        before = (client.backend, client.node)
        try:
            if client.ask() != before:
                raise Failure(f"{before} became {(client.backend, client.node)}")
        except OSError:
            lost.append(client)
    return lost


def kill(host, nodes, route, must_keep):
    """A node is killed: its connections break, and with a resilient group no others."""
    # Without the first one, a plain group gives most buckets to other nodes than before.
    victim = nodes[0]
    clients = open_many(host)
    theirs = [client for client in clients if client.node == victim.inner]
    homes = {client.socket.getsockname()[0]: client.backend for client in clients}
    victim.child.send_signal(signal.SIGKILL)
    victim.child.wait()
    begin = time.monotonic()
    until("the route changes", lambda: victim.number not in route.weights)
    seconds = time.monotonic() - begin
    lost = broken(clients)
    others = [client for client in lost if client.node != victim.inner]
    print(
        f"{route.kind} group, node 1 killed: {len(theirs)} of {len(clients)} connections were on"
        f" it; {len(lost) - len(others)} of these broke, and {len(others)} of the other"
        f" {len(clients) - len(theirs)}; route changed after {seconds:.1f} s"
    )
    if len(lost) - len(others) != len(theirs) or (must_keep and others) or not theirs:
        raise Failure("other connections broke than those of the node")
    moved = 0
    for client in lost:
        again = Client(host, client.socket.getsockname()[0])
        moved += again.ask()[0] != homes[again.socket.getsockname()[0]]
        again.close()
    print(f"  {len(lost)} connected again, {moved} of them to another backend")
    if moved:
        raise Failure("a client's backend changed with its node")
    kept = [client for client in clients if client not in lost]
    victim.start()
    until("node 1 is back", lambda: route.weights.get(victim.number) == 255)
    lost = broken(kept)
    print(f"  node 1 is back: {len(lost)} of {len(kept)} open connections broke")
    if must_keep and lost:
        raise Failure("connections broke when a node came back")
    for client in clients:
        client.close()


def drain(host, nodes, route):
    """A node is told to stop: no connection breaks, and new ones go to the others."""
    leaving = nodes[2]
    # The thread makes the group anew. Buckets of former connections are quiet by then.
    route.quiet, route.weights = DRAIN_QUIET_SECONDS, {}
    time.sleep(DRAIN_QUIET_SECONDS + 0.5)
    clients = open_many(host)[: KEPT // 3]
    theirs = [client for client in clients if client.node == leaving.inner]
    leaving.child.send_signal(signal.SIGTERM)
    until("the node leaves the route", lambda: route.weights.get(leaving.number) == 1)
    new = collections.Counter()
    deadline = time.monotonic() + DRAIN_QUIET_SECONDS + 2
    while time.monotonic() < deadline:
        if lost := broken(clients):
            raise Failure(f"{len(lost)} connections broke while node 3 drained")
        time.sleep(0.3)
    for number in range(KEPT, 2 * KEPT):
        try:
            client = Client(host, client_address(number))
            client.ask()
            new[client.node] += 1
            client.close()
        except OSError:
            new["refused"] += 1
    refused, came = new["refused"], new[leaving.inner]
    print(
        f"node 3 drained with {len(theirs)} open connections: none broke; of {KEPT} new ones"
        f" {came} came to it, and {refused} were refused by it"
    )
    # A new connection may meet a bucket that an old one keeps in use.
    if refused + came > KEPT // 10:
        raise Failure("the router goes on sending new connections to a node that drains")
    for client in clients:
        client.close()
    status = leaving.child.wait(20)
    print(f"  node 3 ended with status {status} when they had ended")
    if status != 0 or not theirs:
        raise Failure("node 3 did not end cleanly")


def build(folder, binary):
    """The network; returns the host of the clients, the router and the nodes."""
    clients, router, switch = Host("clients"), Host("router"), Switch("switch")
    cable(clients, "outer", router, "to-clients")
    clients.ip("addr add 10.80.0.2/24 dev outer")
    router.ip("addr add 10.80.0.1/24 dev to-clients")
    clients.ip("route add default via 10.80.0.1")
    # All these addresses are the clients' own.
    clients.ip("route add local 10.70.0.0/16 dev lo")
    router.ip("route add 10.70.0.0/16 via 10.80.0.2")
    router.set("ipv4.ip_forward", 1)
    # By addresses and ports.
    router.set("ipv4.fib_multipath_hash_policy", 1)
    for host in BACKENDS:
        switch.ip(f"addr add {host}/24 dev bridge")
    backends = switch.start(
        [sys.executable, os.path.abspath(__file__), "--serve"], os.path.join(folder, "backends")
    )
    nodes = [Node(number, router, switch, folder, binary) for number in NODES]
    for node in nodes:
        node.start()
    for node in nodes:
        until(f"node {node.number} is ready", lambda: node.status == 200)
    return clients, router, nodes, backends


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", help="the martlet binary")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return asyncio.run(serve())
    if not chosen.binary:
        parser.error("--binary is missing")
    enter("many-nodes")
    programs("ip", "sysctl")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="martlet-nodes-") as folder:
        clients, router, nodes, _ = build(folder, os.path.abspath(chosen.binary))
        try:
            # The nodes know which backends are up.
            time.sleep(1)
            for kind in ("mpath", "resilient"):
                route = Route(router, nodes, kind)
                if kind == "mpath":
                    agreement(clients)
                kill(clients, nodes, route, must_keep=kind == "resilient")
                if kind == "resilient":
                    drain(clients, nodes, route)
                route.end()
        except BaseException:
            for node in nodes:
                with open(os.path.join(node.folder, "log"), errors="replace") as log:
                    print(f"node {node.number}:\n{log.read()[-1500:]}", file=sys.stderr)
            raise
    print(f"{time.monotonic() - begin:.0f} s in total")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"many-nodes: {failure}")
