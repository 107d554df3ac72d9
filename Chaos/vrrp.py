"""Two nodes with keepalived, in network namespaces: the address moves when a node is not ready.

    clients, node1, node2 and the backend on one switch; VRRP (RFC 9568) between the nodes

The configuration of keepalived is that of docs/operators/many-nodes.md. Shows how long clients wait
if Martlet is killed, if it is told to stop, and if the whole node is gone.
"""

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from namespaces import Host, Switch, enter, programs  # noqa: E402
from proxies import Failure, until  # noqa: E402

ADDRESS = "10.82.0.100"
KEEPALIVED = """
global_defs {{
    script_user root
    enable_script_security
    vrrp_version 3
}}
vrrp_script ready {{
    script "{script}"
    interval 1
    timeout 1
    fall 2
    rise 2
}}
vrrp_instance edge {{
    state BACKUP
    interface outer
    virtual_router_id 51
    priority {priority}
    advert_int 0.5
    virtual_ipaddress {{
        {address}/24
    }}
    track_script {{
        ready
    }}
}}
"""


class Node:
    def __init__(self, number, switch, folder, binary):
        self.number, self.binary = number, binary
        self.folder = os.path.join(folder, f"node{number}")
        os.makedirs(self.folder)
        self.host = Host(f"node{number}")
        switch.join(self.host, "outer", f"10.82.0.{number}/24")
        # Martlet listens on the address that the node may not have now.
        self.host.set("ipv4.ip_nonlocal_bind", 1)
        admin = os.path.join(self.folder, "admin.sock")
        config = {
            "workers": 1,
            "listeners": [{"listen": f"{ADDRESS}:80"}],
            "pools": [{"backends": ["10.82.0.200:8080"], "health": {"interval": "1s"}}],
            "limits": {"lame-duck": "4s", "drain": "5s"},
            "admin": {"socket": admin},
            "log": {"access": "off"},
        }
        self.write("config.json", json.dumps(config))
        url = f"--unix-socket {admin} http://localhost/readyz"
        script = self.write("ready", f"#!/bin/sh\nexec curl -sf -o /dev/null {url}\n")
        os.chmod(script, 0o700)
        self.write(
            "keepalived.conf",
            KEEPALIVED.format(script=script, priority=120 - 10 * number, address=ADDRESS),
        )
        self.start()
        self.keepalived = self.host.start(
            ["keepalived", "-n", "-l", "-f", f"{self.folder}/keepalived.conf",
             "-p", f"{self.folder}/k.pid", "-r", f"{self.folder}/v.pid",
             "-c", f"{self.folder}/c.pid"],
            os.path.join(self.folder, "keepalived.log"),
        )  # fmt: skip

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self):
        self.child = self.host.start(
            [self.binary, "run", "--config", f"{self.folder}/config.json"], f"{self.folder}/log"
        )

    @property
    def has_address(self):
        return f"inet {ADDRESS}/" in self.host.ip("-4 addr show dev outer")


def answers(clients):
    with clients.inside():
        connection = socket.socket()
    with connection:
        connection.settimeout(0.3)
        try:
            connection.connect((ADDRESS, 80))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(4096)
        except OSError:
            return False


def gap(what, clients, act, moved):
    """The longest time without an answer, while the address moves."""
    act()
    last, longest, begin = time.monotonic(), 0, time.monotonic()
    while time.monotonic() - begin < 15:
        if answers(clients):
            longest = max(longest, time.monotonic() - last)
            last = time.monotonic()
            if moved() and time.monotonic() - begin > 8:
                break
        time.sleep(0.02)
    else:
        raise Failure(f"{what}: no answer, or the address did not move")
    print(f"{what}: clients waited {longest:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet binary")
    binary = os.path.abspath(parser.parse_args().binary)
    enter("vrrp")
    programs("ip", "sysctl", "keepalived", "curl")
    with tempfile.TemporaryDirectory(prefix="martlet-vrrp-") as folder:
        switch, clients = Switch("switch"), Host("clients")
        switch.join(clients, "outer", "10.82.0.150/24")
        backend = Host("backend")
        switch.join(backend, "outer", "10.82.0.200/24")
        backend.start([binary, "backend", "--listen", "10.82.0.200:8080"], f"{folder}/backend")
        one, two = (Node(number, switch, folder, binary) for number in (1, 2))
        try:
            until("node 1 has the address", lambda: one.has_address and answers(clients))

            def kill():
                one.child.send_signal(signal.SIGKILL)
                one.child.wait()

            def is_at(node, other):
                return lambda: node.has_address and not other.has_address

            gap("Martlet on node 1 killed", clients, kill, is_at(two, one))
            gap("Martlet on node 1 is back", clients, one.start, is_at(one, two))
            stop = lambda: one.child.send_signal(signal.SIGTERM)  # noqa: E731
            gap("Martlet on node 1 stopped, with 4 s of lame-duck", clients, stop, is_at(two, one))
            one.start()
            until("node 1 has the address again", lambda: one.has_address)
            cut = lambda: one.host.ip("link set outer down")  # noqa: E731
            gap("node 1 cut off", clients, cut, lambda: two.has_address)
        except BaseException:
            for node in (one, two):
                for name in ("log", "keepalived.log"):
                    with open(os.path.join(node.folder, name), errors="replace") as file:
                        print(f"node {node.number} {name}:\n{file.read()[-1500:]}", file=sys.stderr)
            raise


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"vrrp: {failure}")
