"""The backend of UDP: a name server, which needs only a few microseconds for a query.

The load for it is `DatagramRow` in rows.py.
"""

import os
import socket
import time

from backends import find, write
from processes import Failure, Process, free_datagram_port

NAME = "small.example.test"
ZONE = """$ORIGIN example.test.
@ 3600 IN SOA ns.example.test. admin.example.test. 1 3600 600 86400 3600
@ 3600 IN NS ns
ns 3600 IN A 192.0.2.1
small 3600 IN A 192.0.2.2
"""
# A query for the address of NAME, with the id 1.
QUERY = (
    b"\0\1\1\0\0\1\0\0\0\0\0\0"
    + b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
    + b"\0\0\1\0\1"
)


def answers(port):
    """Whether a name server answers on the port, directly or through a peer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.1)
        client.connect(("127.0.0.1", port))
        try:
            client.send(QUERY)
            answer = client.recv(512)
        except OSError:
            return False
    # A response without error, with one answer.
    return answer[:2] == QUERY[:2] and answer[3] & 15 == 0 and answer[6:8] == b"\0\1"


def wait_for_answer(process, port, seconds=10):
    deadline = time.monotonic() + seconds
    while not answers(port):
        if process.child.poll() is not None:
            raise Failure(f"{process.name} exited:\n{process.tail()}")
        if time.monotonic() > deadline:
            raise Failure(f"{process.name} answers no query:\n{process.tail()}")
        time.sleep(0.02)


class NameServer:
    """NSD, which answers each query from memory."""

    def __init__(self, folder, core):
        port = free_datagram_port()
        self.addresses = [f"127.0.0.1:{port}"]
        place = os.path.join(folder, "names")
        os.makedirs(place)
        zone = write(os.path.join(place, "zone"), ZONE)
        config = write(
            os.path.join(place, "nsd.conf"),
            f"""
server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{place}"
    database: ""
    pidfile: "{place}/pid"
    xfrdfile: "{place}/xfrd.state"
    zonelistfile: "{place}/zone.list"
    xfrdir: "{place}"
    # It would drop more than 200 queries a second of one network.
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.test
    zonefile: "{zone}"
""",
        )
        self.process = Process("names", [find("nsd"), "-d", "-c", config], core, folder)
        wait_for_answer(self.process, port)

    def stop(self):
        self.process.stop()
