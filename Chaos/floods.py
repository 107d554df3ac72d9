"""Checks that a client is served in time during floods, with one worker.

A client (the bystander) requests a small page again and again, with TLS, without, and with HTTP/2.
Meanwhile two processes send a flood of flooders.py or http2_flooders.py. All requests of the client
must be answered, and 99 of 100 within 20 ms. Martlet's memory must stay within a limit. A busy
machine can be slower for a moment, so a flood that fails is repeated, and counts as a failure only
if it fails each time.
"""

import argparse
import json
import multiprocessing
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from chaos import free_port, make_certificates  # noqa: E402
from flooders import FLOODS, die_with_parent, shout  # noqa: E402
from http2_flooders import HTTP2_FLOODS  # noqa: E402
from http2_frames import Client  # noqa: E402
from proxies import Failure, find, is_alive, until  # noqa: E402

P99_MAX, RESIDENT_MAX, TRIES, FLOODERS, SECONDS_MAX = 0.020, 256, 3, 2, 60
FLOODS = FLOODS | HTTP2_FLOODS
WARM_UP = 0.3
FORK = multiprocessing.get_context("fork")


def configuration(places, certificate, key):
    tls = {"certificates": [{"chain": certificate, "key": key}]}
    ports = {name: f"127.0.0.1:{places[name]}" for name in places}
    pools = ("calm", "continue", "hints", "sink")
    routes = [{"path": f"/{name}", "forward": name} for name in pools]
    routes += [
        {"path": "/here", "respond": {"body": "here"}},
        {"path": "/away", "redirect": {"host": "example.org"}},
        {"host": "*.example.com", "forward": "calm"},
    ]
    return {
        "listeners": [
            {"listen": ports["plain"]},
            {"listen": ports["tolerant"], "desync": "defensive"},
            {"listen": ports["tls"], "tls": tls},
            {"listen": ports["h2"], "protocols": ["h2"]},
        ],
        "pools": [{"name": name, "backends": [ports[name]]} for name in pools],
        "routes": routes,
        "trusted-proxies": ["127.0.0.0/8"],
        "admin": {"listen": ports["admin"]},
        "workers": 1,
        "log": {"target": "access.log"},
    }


def start_backend(folder, port):
    """A fast backend with constant latency, so that delays come from Martlet."""
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as file:
        file.write(f"""
            {"user root;" if os.getuid() == 0 else ""}
            daemon off;
            pid {folder}/nginx.pid;
            error_log {folder}/nginx.log;
            events {{ worker_connections 1000; }}
            http {{
                access_log off;
                client_body_temp_path {folder}/body;
                proxy_temp_path {folder}/proxy;
                fastcgi_temp_path {folder}/fastcgi;
                uwsgi_temp_path {folder}/uwsgi;
                scgi_temp_path {folder}/scgi;
                keepalive_requests 1000000;
                server {{ listen 127.0.0.1:{port}; location / {{ return 200 "calm"; }} }}
            }}""")
    command = [find("nginx"), "-p", folder, "-e", "stderr", "-c", path]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Bystander:
    """One client with three connections that stay open."""

    REQUEST = b"GET /calm HTTP/1.1\r\nHost: a.example.com\r\n\r\n"

    def __init__(self, places, authority):
        self.places = places
        self.context = ssl.create_default_context(cafile=authority)
        self.connections = {}
        self.times, self.failures = [], []

    def connect(self, name):
        connection = socket.create_connection(("127.0.0.1", self.places[name]), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if name == "tls":
            connection = self.context.wrap_socket(connection, server_hostname="localhost")
        return connection

    def ask_http2(self):
        try:
            if "h2" not in self.connections:
                self.connections["h2"] = Client(self.places["h2"])
            client = self.connections["h2"]
            begin = time.monotonic()
            _, body = client.get(b"/calm")
            self.times.append(time.monotonic() - begin)
            if body != b"calm":
                raise ConnectionError(f"{body[:40]}")
            # After limits.requests-per-connection.
            if client.isLast:
                self.connections.pop("h2").close()
        except OSError as error:
            self.failures.append(f"h2: {error}")
            self.connections.pop("h2", None)

    def ask(self, name):
        try:
            if name not in self.connections:
                self.connections[name] = self.connect(name)
            begin = time.monotonic()
            self.connections[name].sendall(self.REQUEST)
            answer = b""
            while not answer.endswith(b"calm"):
                if not (part := self.connections[name].recv(65536)):
                    raise ConnectionError(f"closed after {answer[:40]}")
                answer += part
            self.times.append(time.monotonic() - begin)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"{answer[:40]}")
            # After limits.requests-per-connection.
            if b"\r\nConnection: close\r\n" in answer:
                self.connections.pop(name).close()
        except OSError as error:
            self.failures.append(f"{name}: {error}")
            self.connections.pop(name, None)

    def watch(self, seconds):
        end = time.monotonic() + seconds
        self.times, self.failures = [], []
        while time.monotonic() < end:
            for name in ("tls", "plain"):
                self.ask(name)
            self.ask_http2()
            time.sleep(0.002)

    def quantile(self, share):
        times = sorted(self.times)
        return times[min(len(times) - 1, int(len(times) * share))] if times else float("inf")


def prefer(niceness):
    """Gives the measured processes a higher priority, if that is allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except PermissionError:
        pass


def spawn(work, *arguments):
    """A process with lower priority than the bystander, which dies with it."""

    def settled():
        os.setpgid(0, 0)
        die_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        prefer(10)
        work(*arguments)

    process = FORK.Process(target=settled, daemon=True)
    process.start()
    return process


def end(processes):
    """Kills the processes and their children."""
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.join()


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name, places, bystander, martlet, seconds):
    """Prints one row of the table; returns the failures."""
    for _ in range(TRIES):
        flooders = [spawn(FLOODS[name], places) for _ in range(FLOODERS)] if name in FLOODS else []
        try:
            time.sleep(WARM_UP)
            before = processor_time(martlet.pid)
            bystander.watch(seconds)
            share = (processor_time(martlet.pid) - before) / seconds
        finally:
            end(flooders)
        if martlet.poll() is not None:
            raise Failure(f"martlet ended under: {name}")
        p99 = bystander.quantile(0.99)
        against = bystander.failures[:3]
        if p99 > P99_MAX:
            against.append(f"{name}: {p99 * 1000:.0f} ms for 99 of 100 requests")
        if resident(martlet.pid) > RESIDENT_MAX:
            against.append(f"{name}: {resident(martlet.pid)} MiB")
        print(
            f"{name:42} {len(bystander.times):8,} {bystander.quantile(0.5) * 1000:8.1f} "
            f"{p99 * 1000:8.1f} {bystander.quantile(1) * 1000:8.1f} "
            f"{len(bystander.failures):8,} {resident(martlet.pid):8,} {share * 100:8.0f}",
            flush=True,
        )
        if not against:
            return []
    return against


def flood(options, folder):
    chain, key, authority = make_certificates(folder)
    names = ("plain", "tolerant", "tls", "h2", "admin", "calm", "continue", "hints", "sink")
    places = {name: free_port() for name in names}
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(configuration(places, chain, key), file)
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </" + b"x" * 30_000 + b">\r\n\r\n"
    backends = [
        spawn(shout, places["continue"], b"HTTP/1.1 100 Continue\r\n\r\n"),
        spawn(shout, places["hints"], hint),
        spawn(shout, places["sink"], b"x", True),
    ]
    prefer(-15)
    calm = start_backend(folder, places["calm"])
    martlet = None
    against = []
    try:
        with open(os.path.join(folder, "martlet.log"), "wb") as log:
            martlet = subprocess.Popen(
                [os.path.abspath(options.binary), "run"], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=folder,
            )
        for place in names:
            until(f"{place} listens", lambda place=place: accepts(places[place]), 10)
        bystander = Bystander(places, authority)
        columns = ("answers", "p50 ms", "p99 ms", "max ms", "failures", "RSS MiB", "CPU %")
        print(f"{'flood':42} " + " ".join(f"{column:>8}" for column in columns))
        for name in ["none", *FLOODS]:
            if not options.only or name == "none" or options.only in name:
                against += measure(name, places, bystander, martlet, options.seconds)
    finally:
        if martlet and is_alive(martlet.pid):
            martlet.terminate()
            martlet.wait(60)
        calm.terminate()
        calm.wait(20)
        end(backends)
    return against


def main():
    parser = argparse.ArgumentParser(prog="floods", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="per flood (2)")
    parser.add_argument("--only", metavar="TEXT", help="only floods with this in their name")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    options = parser.parse_args()
    options.seconds = min(options.seconds, SECONDS_MAX)
    # So that all started processes are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="martlet-floods.") as folder:
        against = flood(options, folder)
    print("floods: " + ("\n".join(against) or "no flood delayed the client"))
    return 1 if against else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"floods: {failure}", file=sys.stderr)
        sys.exit(1)
