"""Counts instructions and allocations per request with valgrind, and memory per idle connection.

A fixed load on one worker takes about the same number of instructions on every machine, even on a
busy one. So this finds slower code where times can't be measured. LOADS pins the last count of each
load; a count of more than ROOM above it fails. If a change makes Martlet faster, or slower for a
good reason, pin the new count, and give the reason in the commit message. Each load runs twice,
short and long, and only the difference counts, so that handshakes are not counted. A plain request
allocates nothing in steady state: the few counted allocations are from other threads. Over TLS the
allocations are from OpenSSL, which frees its record buffers between two records.
"""

import argparse
import glob
import os
import re
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from backends import POST_PATH, SMALL, Backend, find  # noqa: E402
from backends import make_certificates, nginx_frame  # noqa: E402
from bench import measure_idle  # noqa: E402
from peers import Martlet, Shape  # noqa: E402
from processes import Failure, Process, free_ports, raise_descriptor_limit  # noqa: E402
from processes import run_pinned, run_script, two_cores  # noqa: E402

CONNECTIONS = 8
ROOM = 1.05
ALLOCATIONS_ROOM = 0.2
SHORT = 10 * CONNECTIONS
POST_BYTES = 64 * 1024
IDLE_CONNECTIONS, IDLE_BYTES = 2000, 15_100


@dataclass(frozen=True)
class Load:
    """Requests for one path on one port, and the pinned counts per request."""

    port: str
    path: str
    requests: int
    pinned: int
    allocations: float = 0
    post: int = 0
    is_redirect: bool = False
    # Streams at a time on each connection; 0 for HTTP/1.1.
    streams: int = 0
    # Each request has a TCP connection of its own, which the backend closes.
    connects: bool = False


# Sorted by shape, so that the loads of one shape share a process.
LOADS = {
    Shape(): {
        "small answer": Load("plain", "/small", 3000, 23_700),
        "small answer, TLS": Load("tls", "/small", 3000, 39_400, 6),
        "64 KiB answer, TLS": Load("tls", "/64k", 500, 349_000, 20),
        "64 KiB POST, TLS": Load("tls", POST_PATH, 500, 347_500, 15, post=POST_BYTES),
        "small answer, HTTP/2 and TLS": Load("tls", "/small", 3000, 47_100, 6, streams=1),
        "the same, 8 streams": Load("tls", "/small", 3000, 31_400, 0.8, streams=8),
        "small answer, HTTP/2 to the backend": Load("http2", "/small", 3000, 34_500),
        "small answer, TLS to the backend": Load("secure", "/small", 3000, 38_000, 4),
        "every other one retried": Load("retry", "/small", 1000, 27_100, 0.6),
        "redirect": Load("redirect", "/small", 1000, 14_200, 6, is_redirect=True),
        # Listeners with `"protocol": "tcp"`, which don't know that HTTP goes through them.
        "TCP connection": Load("tcp", "/small", 1000, 32_000, 0.4, connects=True),
        "small exchange over TCP": Load("tcp", "/small", 3000, 7_300),
        # Buffers that a pause finds empty are freed: it depends on how the writes of nginx fall.
        "64 KiB stream over TCP": Load("tcp", "/64k", 500, 8_400, 0.3),
        "64 KiB stream over TCP, TLS": Load("tcp-tls", "/64k", 500, 338_000, 24),
    },
    Shape(log=True): {"with the access log": Load("plain", "/small", 3000, 28_900)},
}


class SecureBackend:
    """A backend with TLS, and with HTTP/2 without TLS on another port."""

    def __init__(self, folder, core, certificate):
        port, http2 = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.http2 = f"127.0.0.1:{http2}"
        config = nginx_frame(
            folder,
            "secure",
            f"""
            keepalive_timeout 1h;
            server {{
                listen {self.http2} http2;
                location = /small {{ return 200 "{SMALL.decode()}"; }}
            }}
            server {{
                listen {self.address} ssl;
                ssl_certificate {certificate}.crt;
                ssl_certificate_key {certificate}.key;
                location = /small {{ return 200 "{SMALL.decode()}"; }}
            }}
            """,
        )
        command = [find("nginx"), "-p", folder, "-e", "stderr", "-c", config]
        self.process = Process("secure", command, core, folder)
        self.process.wait_for_port(port)

    def stop(self):
        self.process.stop()


class CountedMartlet(Martlet):
    """Martlet under callgrind, which counts only when it is told to."""

    start_seconds = 120
    secure = None

    def configuration(self):
        config = super().configuration()
        dead, tcp, secure_tcp, *ports = free_ports(7)
        names = ("retry", "redirect", "secure", "http2")
        self.ports.update(zip(names, ports))
        self.ports.update({"tcp": tcp, "tcp-tls": secure_tcp})
        # Half of the requests go to a backend that refuses them, and are retried on the other.
        config["pools"].append(
            {
                "name": "retry",
                "health": "off",
                "ejection": "off",
                "retry": {"budget-percent": 100},
                "backends": [f"127.0.0.1:{dead}", *self.backends],
            }
        )
        config["pools"].append(
            {
                "name": "secure",
                "health": "off",
                "tls": {"ca": f"{self.certificates['ecdsa']}.crt"},
                "keep-alive": {"idle": "3600s", "max-idle": 2 * CONNECTIONS},
                "backends": [f"https://{self.secure.address}"],
            }
        )
        config["pools"].append(
            {
                "name": "http2",
                "health": "off",
                "protocol": "h2",
                "keep-alive": {"idle": "3600s", "max-idle": 2 * CONNECTIONS},
                "backends": [self.secure.http2],
            }
        )
        config["pools"].append({"name": "tcp", "health": "off", "backends": self.backends})
        for name in names:
            config["listeners"].append({"listen": f"127.0.0.1:{self.ports[name]}", "name": name})
        for name, tls in (("tcp", {}), ("tcp-tls", {"tls": config["listeners"][0]["tls"]})):
            address = f"127.0.0.1:{self.ports[name]}"
            listener = {"listen": address, "name": name, "protocol": "tcp", "pool": "tcp"}
            config["listeners"].append({**listener, **tls})
        config["routes"] = [
            {"listeners": ["retry"], "forward": "retry"},
            {"listeners": ["secure"], "forward": "secure"},
            {"listeners": ["http2"], "forward": "http2"},
            {"listeners": ["redirect"], "redirect": {"host": "example.org"}},
            {"forward": "default"},
        ]
        return config

    def command(self):
        self.counts = os.path.join(self.folder, "callgrind.out")
        return [
            *(find("valgrind"), "--tool=callgrind", "--instr-atstart=no"),
            *(f"--callgrind-out-file={self.counts}", *super().command()),
        ]

    def control(self, *order):
        subprocess.run(
            [find("callgrind_control"), *order, str(self.process.child.pid)],
            check=True, capture_output=True, timeout=60,
        )

    def count(self, state):
        self.control("-i", state)

    def dump(self):
        self.control("-d")

    def dumps(self):
        paths = glob.glob(f"{self.counts}.*")
        return sorted(paths, key=lambda path: int(path.rsplit(".", 1)[1]))

    def stop(self):
        # Callgrind writes the counts at the end, which takes some time.
        self.process.child.terminate()
        self.process.child.wait(120)
        super().stop()


def load(port, core, requests, path="/small", tls=False, body=None, status="2xx", streams=0):
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}"
    command = [find("h2load"), "-n", str(requests), "-c", str(CONNECTIONS), url]
    command += ["-m", str(streams)] if streams else ["--h1"]
    if body:
        command += ["-d", body]
    output = run_pinned(command, core, 120)
    if f"{requests} {status}" not in output:
        raise Failure(output)


def connect(port, path, count):
    """A request on each of `count` connections, one after another."""
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(request)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise Failure(f"a connection was answered with {answer[:100]}")


def read(path):
    """All instructions in the file, and how often malloc was called."""
    names, callee, allocations, instructions = {}, None, 0, 0
    with open(path) as file:
        for line in file:
            if match := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
                number, name = match.groups()
                if name:
                    names[number] = name
                if line.startswith("c"):
                    callee = names.get(number)
            elif line.startswith("calls=") and callee in ("malloc", "calloc", "posix_memalign"):
                allocations += int(line.removeprefix("calls=").split()[0])
            elif match := re.match(r"(?:summary|totals): (\d+)", line):
                instructions = max(instructions, int(match.group(1)))
    return instructions, allocations


def run(peer, load_, core, requests, body):
    if load_.connects:
        return connect(peer.ports[load_.port], load_.path, requests)
    load(
        peer.ports[load_.port], core, requests, load_.path, tls=load_.port.endswith("tls"),
        body=body if load_.post else None, status="3xx" if load_.is_redirect else "2xx",
        streams=load_.streams,
    )  # fmt: skip


def measure(shape, loads, folder, cores, backend, certificates, body):
    """Yields the name of each load with its instructions and allocations per request."""
    peer = CountedMartlet(folder, {cores[0]}, backend, certificates, shape)
    try:
        # Warm up: buffers, connections and tables are created once.
        for each in loads.values():
            run(peer, each, cores[1], SHORT, body)
        peer.count("on")
        peer.dump()
        for each in loads.values():
            for requests in (SHORT, SHORT + each.requests):
                run(peer, each, cores[1], requests, body)
                peer.dump()
        peer.count("off")
    finally:
        peer.stop()
    # The first dump contains the counts before the load.
    counts = [read(path) for path in peer.dumps()[1:]]
    for (name, each), short, long in zip(loads.items(), counts[::2], counts[1::2]):
        yield name, *((more - less) / each.requests for less, more in zip(short, long))


def strip(binary, folder):
    """The binary without debug information, because valgrind can't read Swift's."""
    path = os.path.join(folder, "martlet")
    subprocess.run([find("strip"), "-g", "-o", path, binary], check=True)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", metavar="PATH", required=True, help="the martlet binary")
    binary = parser.parse_args().binary
    cores = two_cores()
    raise_descriptor_limit()
    problems = []
    with tempfile.TemporaryDirectory(prefix="martlet-count-") as folder:
        Martlet.binary = strip(binary, folder)
        certificates = make_certificates(folder)
        backend = Backend(folder, {cores[1]})
        body = os.path.join(folder, "body")
        with open(body, "wb") as file:
            file.write(b"m" * POST_BYTES)
        try:
            CountedMartlet.secure = SecureBackend(folder, {cores[1]}, certificates["ecdsa"])
            for shape, loads in LOADS.items():
                for name, instructions, allocations in measure(
                    shape, loads, folder, cores, backend, certificates, body
                ):
                    pinned = loads[name].pinned
                    print(
                        f"{name}: {instructions:,.0f} instructions/request (pinned: {pinned:,}), "
                        f"{allocations:.2f} allocations",
                        flush=True,
                    )
                    if instructions > pinned * ROOM:
                        problems.append(f"{name} needs more instructions than the pinned number")
                    if allocations > loads[name].allocations + ALLOCATIONS_ROOM:
                        problems.append(f"{name} allocates")
            start = lambda: Martlet(folder, {cores[0]}, backend, certificates)  # noqa: E731
            held = measure_idle(start, IDLE_CONNECTIONS, cores[1])
            print(f"idle TLS connection: {held:,.0f} bytes (pinned: {IDLE_BYTES:,})")
            if held > IDLE_BYTES * ROOM:
                problems.append("an idle connection needs more memory than the pinned number")
        finally:
            if CountedMartlet.secure:
                CountedMartlet.secure.stop()
            backend.stop()
    if problems:
        raise Failure("; ".join(problems))


if __name__ == "__main__":
    run_script("instructions", main)
