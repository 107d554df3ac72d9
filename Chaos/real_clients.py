"""Real clients with HTTP/2 and gRPC, through the real binary, to backends with HTTP/1.1 and HTTP/2.

curl, nghttp, h2load, httpx, Node, Go, Java, a page with 200 images and a WebSocket in Chromium, and
grpcio with calls of all shapes, deadlines, cancellation, large metadata, and a long stream. Some
send more requests while the binary is replaced. Prints a table of what worked; a client that is not
installed is skipped. servers.py and backend.py are the backends.
"""

import argparse
import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
sys.path.append(os.path.join(FOLDER, "../.build-tools"))
sys.path.append(os.path.join(FOLDER, "../Benchmarks"))
sys.path.append(os.path.join(FOLDER, "../Tests/EndToEndTests/Browser"))
from backend import body_of  # noqa: E402
from backends import make_certificates  # noqa: E402
from chaos import BackendProcess, free_port  # noqa: E402
from proxies import Failure, Martlet, find, is_alive  # noqa: E402
from servers import GRPC, Nginx, Server  # noqa: E402

IMAGES = 200
NUMBER, SIZE = 7, 100_000
PATH = f"/item/{NUMBER}?size={SIZE}"
MESSAGE = 1 << 20
# The clients that are tried again with more requests, while the binary is replaced. Java isn't one:
# its client fails all requests at a GOAWAY (JDK-8335181, corrected in 24 and 17.0.17).
UPGRADED = ("node", "go", "grpcio")
UPGRADED_ROUNDS = 20


class Pages(Nginx):
    """A page with many images, over HTTP/1.1."""

    def configure(self):
        names = [f"{number}.png" for number in range(IMAGES)]
        pictures = "".join(f'<img src="/page/{name}">' for name in names)
        os.makedirs(os.path.join(self.folder, "page"))
        self.write("page/index.html", f"<!doctype html><title>Images</title>{pictures}")
        for number, name in enumerate(names):
            with open(os.path.join(self.folder, "page", name), "wb") as file:
                file.write(png(number))
        self.config = self.write(
            "nginx.conf",
            f"""
            daemon off; pid nginx.pid; error_log stderr;
            {"user root;" if os.getuid() == 0 else ""}
            events {{ worker_connections 500; }}
            http {{
                access_log off;
                types {{ text/html html; image/png png; }}
                server {{ listen 127.0.0.1:{self.port}; root {self.folder}; }}
            }}
            """,
        )


class Calls(GRPC):
    """grpcio, whose connections stay."""

    age = []


def png(number):
    """A picture of one pixel, of another colour each."""

    def chunk(kind, content):
        whole = kind + content
        return len(content).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    head = b"\0\0\0\1\0\0\0\1\x08\2\0\0\0"
    pixel = zlib.compress(bytes([0, number, 255 - number, 0]))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


class Edge(Martlet):
    """TLS on one port, HTTP/2 and HTTP/1.1 without it on another."""

    def configuration(self):
        web, pages, grpc, self.plain = self.backends
        pair = {"chain": self.certificate, "key": self.key}
        return json.dumps(
            {
                "listeners": [
                    {"listen": f"127.0.0.1:{self.port}", "tls": {"certificates": [pair]}},
                    {"listen": f"127.0.0.1:{self.plain}", "protocols": ["h2", "http/1.1"]},
                ],
                "pools": [
                    {"name": "web", "backends": [f"127.0.0.1:{web}"]},
                    {"name": "pages", "backends": [f"127.0.0.1:{pages}"]},
                    {
                        "name": "grpc",
                        "protocol": "h2",
                        "backends": [f"https://127.0.0.1:{grpc}"],
                        "tls": {"ca": self.certificate, "server-name": "localhost"},
                    },
                ],
                "routes": [
                    {"path": "/echo.Echo", "forward": "grpc"},
                    {"path": "/page", "forward": "pages"},
                    {"forward": "web"},
                ],
                # A long stream is one body.
                "limits": {"body-size": "16GiB"},
                "workers": self.workers,
                "process": {"pid-file": "pid"},
                "log": {"target": "access.log"},
            }
        )

    def peak(self):
        """The most memory that it ever had, in MiB."""
        with open(f"/proc/{self.pid()}/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024

    def requests(self, wanted):
        """The log lines of requests that are wanted."""
        with open(os.path.join(self.folder, "access.log")) as log:
            return [line for line in map(json.loads, log) if wanted(line)]


def check(condition, text):
    if not condition:
        raise Failure(str(text)[:2000])


def output(*command, seconds=120, **more):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, **more
    )
    check(done.returncode == 0, f"{command[0]}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout


class Clients:
    """A method for each client; it returns its version."""

    def __init__(self, martlet, authority, folder):
        self.martlet, self.authority, self.folder = martlet, authority, folder
        self.is_upgrading = False
        self.origin = f"https://localhost:{martlet.port}"
        self.plain = f"http://127.0.0.1:{martlet.plain}"
        self.sent = os.path.join(folder, "sent")
        with open(self.sent, "wb") as file:
            file.write(body_of(NUMBER, SIZE))

    def curl(self):
        got = os.path.join(self.folder, "got")
        common = ["curl", "-sS", "--fail", "-o", got, "-w", "%{http_version} "]
        for protocol, origin in (("--http2", self.origin), ("--http2-prior-knowledge", self.plain)):
            for body in ([], ["--data-binary", f"@{self.sent}"], ["-T", self.sent]):
                command = [*common, "--cacert", self.authority, protocol, *body, origin + PATH]
                check(output(*command) == "2 ", protocol)
                with open(got, "rb") as file:
                    check(file.read() == body_of(NUMBER, SIZE), f"{protocol}: another body")
        return Server.first_line("curl", "--version").split()[1]

    def nghttp(self):
        find("nghttp")
        for origin in (self.origin, self.plain):
            told = output("nghttp", "-n", "-s", "-m", "50", origin + PATH)
            check(len(re.findall(r" 200 +\d", told)) == 50, told)
        return Server.first_line("nghttp", "--version").split("/")[1]

    def h2load(self):
        find("h2load")
        for body in ([], ["-d", self.sent]):
            told = output(
                "h2load", "-n", "1000", "-c", "4", "-m", "25", *body, self.origin + PATH
            )
            check("1000 succeeded, 0 failed" in told, told)
        return Server.first_line("h2load", "--version").split("/")[1]

    def httpx(self):
        import httpx

        with httpx.Client(http2=True, verify=self.authority) as client:
            for _ in range(20):
                response = client.get(self.origin + PATH)
                check(response.http_version == "HTTP/2", response.http_version)
                check(response.content == body_of(NUMBER, SIZE), response.status_code)
            response = client.post(self.origin + PATH, content=body_of(NUMBER, SIZE))
            check(response.content == body_of(NUMBER, SIZE), response.status_code)
        return httpx.__version__

    def foreign(self, *command):
        """As many times 100 requests."""
        rounds = UPGRADED_ROUNDS if self.is_upgrading else 1
        done = subprocess.run(
            [*command, self.origin, self.authority, PATH, self.sent, str(rounds)],
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )
        right = str(100 * rounds)
        check(done.stdout.strip() == right, f"{done.stdout} of {right}: {done.stderr[-500:]}")

    def node(self):
        self.foreign(find("node"), os.path.join(FOLDER, "clients/client.js"))
        return Server.first_line("node", "--version")

    def go(self):
        binary = os.path.join(self.folder, "go-client")
        source = os.path.join(FOLDER, "clients/client.go")
        if not os.path.exists(binary):
            output(find("go"), "build", "-o", binary, source, seconds=300)
        self.foreign(binary)
        return Server.first_line("go", "version").split()[2]

    def java(self):
        find("java")
        store = os.path.join(self.folder, "trust.p12")
        output(
            *(find("keytool"), "-importcert", "-noprompt", "-alias", "a", "-storetype", "PKCS12"),
            *("-storepass", "changeit", "-file", self.authority, "-keystore", store),
        )
        trust = [f"trustStore={store}", "trustStorePassword=changeit"]
        trust = [f"-Djavax.net.ssl.{setting}" for setting in trust]
        self.foreign("java", *trust, os.path.join(FOLDER, "clients/Client.java"))
        return Server.first_line("java", "-version").split('"')[1]

    def chromium(self):
        find("chromium")
        from browser import Browser

        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(profile)
            try:
                browser.call("Security.enable")
                browser.call("Security.setIgnoreCertificateErrors", ignore=True)
                self.page(browser)
                self.socket(browser)
            finally:
                os.killpg(browser.process.pid, signal.SIGKILL)
                browser.process.wait()
        told = subprocess.run(["chromium", "--version"], capture_output=True, text=True).stdout
        return told.split()[1]

    def page(self, browser):
        browser.call("Page.navigate", url=f"{self.origin}/page/index.html")
        done = "document.readyState == 'complete' && document.images.length"
        check(browser.until(done, 30) == IMAGES, "the page isn't complete")
        drawn = "[...document.images].filter(image => image.naturalWidth == 1).length"
        check(browser.evaluate(drawn) == IMAGES, "an image is missing")
        loads = self.martlet.requests(lambda line: line["target"].startswith("/page/"))
        check({line["version"] for line in loads} == {"2"}, "not over HTTP/2")
        check(len({line["client_port"] for line in loads}) == 1, "more than one connection")

    def socket(self, browser):
        """A WebSocket on the connection of the page."""
        sent = base64.b64encode(b"1 " + body_of(1, 50_000)).decode()
        browser.evaluate(
            f"""
            socket = new WebSocket("wss://localhost:{self.martlet.port}/socket");
            socket.binaryType = "arraybuffer";
            bytes = Uint8Array.from(atob("{sent}"), character => character.charCodeAt(0));
            socket.onopen = () => socket.send(bytes);
            socket.onmessage = event => {{
                got = [...new Uint8Array(event.data)].map(byte => String.fromCharCode(byte));
                answer = btoa(got.join(""));
                socket.close();
            }};
            answer = null;
            socket.onclose = event => {{ code = event.code; }};
            code = null;
            """
        )
        wanted = base64.b64encode(body_of(2, 50_000)).decode()
        check(browser.until("answer", 20) == wanted, "the message has another answer")
        check(browser.until("code", 20) in (1000, 1005), "the WebSocket didn't close")
        deadline = time.monotonic() + 10
        while not (found := self.martlet.requests(lambda line: line["target"] == "/socket")):
            check(time.monotonic() < deadline, "the WebSocket isn't logged")
            time.sleep(0.05)
        pages = self.martlet.requests(lambda line: line["target"].startswith("/page/"))
        check(found[0]["version"] == "2", "the WebSocket isn't over HTTP/2")
        check(found[0]["client_port"] == pages[0]["client_port"], "on another connection")

    def channel(self):
        import grpc

        with open(self.authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        most = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_metadata_size", 64 << 10)]
        return grpc.secure_channel(f"localhost:{self.martlet.port}", credentials, options=most)

    def grpcio(self):
        import grpc

        with self.channel() as channel:
            if self.is_upgrading:
                self.many(channel)
                return grpc.__version__
            self.shapes(channel)
            self.ends(channel, grpc)
            self.stream(channel, 64)
        return grpc.__version__

    def shapes(self, channel):
        messages = [bytes([number]) * (number * 999) for number in range(50)]
        for message in messages:
            check(channel.unary_unary("/echo.Echo/Unary")(message) == message, "unary")
        count = [("count", "50")]
        answers = channel.unary_stream("/echo.Echo/ServerStream")(b"m" * 5000, metadata=count)
        check(list(answers) == [b"m" * 5000] * 50, "stream of the server")
        total = channel.stream_unary("/echo.Echo/ClientStream")(iter(messages))
        check(int(total) == sum(map(len, messages)), "stream of the client")
        check(list(channel.stream_stream("/echo.Echo/Both")(iter(messages))) == messages, "both")
        # A message at a time: each is sent when the answer to the previous one has arrived.
        turn, sent = threading.Semaphore(1), []

        def one_by_one():
            for message in messages[:10]:
                turn.acquire(timeout=10)
                sent.append(message)
                yield message

        for number, answer in enumerate(channel.stream_stream("/echo.Echo/Both")(one_by_one())):
            check(len(sent) == number + 1 and answer == sent[-1], "a message was held back")
            turn.release()
        # Martlet limits a head to 32 KiB by default, and trailers to 8 KiB.
        sent = {"x-head": "v" * 20_000, "x-trailer": "w" * 5000}
        ask = channel.unary_unary("/echo.Echo/Metadata")
        answer, call = ask.with_call(b"a", metadata=list(sent.items()))
        check(dict(call.initial_metadata())["x-head"] == sent["x-head"], "metadata at the start")
        check(dict(call.trailing_metadata())["x-trailer"] == sent["x-trailer"], "at the end")

    def ends(self, channel, grpc):
        wait = channel.unary_unary("/echo.Echo/Wait")
        check(wait(b"50", timeout=20) == b"waited", "no deadline")
        begin = time.monotonic()
        try:
            wait(b"20000", timeout=0.3)
            check(False, "the deadline had no effect")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)
        check(time.monotonic() - begin < 5, "the deadline was late")
        call = wait.future(b"20000")
        time.sleep(0.2)
        call.cancel()
        check(call.code() == grpc.StatusCode.CANCELLED, call.code())
        try:
            channel.unary_unary("/echo.Echo/Nothing")(b"")
            check(False, "an unknown method was answered")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.UNIMPLEMENTED, error)

    def many(self, channel):
        """Calls one after another, in several threads; none may fail."""
        failures = []

        def calls():
            for number in range(20 * UPGRADED_ROUNDS):
                try:
                    channel.unary_unary("/echo.Echo/Unary")(b"m" * number)
                except Exception as failure:
                    failures.append(repr(failure))

        threads = [threading.Thread(target=calls) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not failures, f"{len(failures)} calls failed: {failures[:1]}")

    def stream(self, channel, count):
        """As many MiB up and down at the same time, on two streams."""
        messages = (b"m" * MESSAGE for _ in range(count))
        up = channel.stream_unary("/echo.Echo/ClientStream").future(messages)
        metadata = [("count", str(count))]
        down = channel.unary_stream("/echo.Echo/ServerStream")(b"m" * MESSAGE, metadata=metadata)
        check(sum(len(message) for message in down) == count * MESSAGE, "down")
        check(int(up.result()) == count * MESSAGE, "up")


NAMES = ("curl", "nghttp", "h2load", "httpx", "node", "go", "java", "chromium", "grpcio")


def attempt(clients, name):
    """Returns version, result, and whether it failed."""
    try:
        return getattr(clients, name)(), "ok", False
    except (Failure, ImportError) as failure:
        if "not installed" in str(failure):
            return "", f"skipped: {failure}", False
        return "", f"failed: {failure}", True


def upgrade_during(clients, name):
    """Replaces the binary again and again while the client sends requests."""
    results = []
    clients.is_upgrading = True
    thread = threading.Thread(target=lambda: results.append(attempt(clients, name)))
    thread.start()
    count = 0
    while thread.is_alive():
        clients.martlet.upgrade()
        count += 1
        time.sleep(0.5)
    clients.is_upgrading = False
    version, result, failed = results[0]
    return version, f"{result} during {count} upgrades", failed


def run(options, folder):
    base = make_certificates(folder)["ecdsa"]
    chain, key = f"{base}.crt", f"{base}.key"
    started, martlet, failures = [], None, 0
    try:
        web = BackendProcess(folder, 0)
        started.append(web)
        for kind in (Pages, Calls):
            started.append(kind(folder, free_port(), chain, key))
        ports = [server.port for server in started] + [free_port()]
        binary = os.path.abspath(options.binary)
        martlet = Edge(folder, free_port(), ports, chain, key, binary=binary)
        clients = Clients(martlet, chain, folder)
        print("| client | version | result |\n|---|---|---|")
        for name in options.clients.split(","):
            for way in (attempt, upgrade_during) if name in UPGRADED else (attempt,):
                version, result, failed = way(clients, name)
                print(f"| {name} | {version} | {result} |", flush=True)
                failures += failed
        if options.stream:
            begin = time.monotonic()
            with clients.channel() as channel:
                clients.stream(channel, options.stream)
            rate = 2 * options.stream / (time.monotonic() - begin)
            peak = martlet.peak()
            print(f"\n{options.stream} MiB up and down: {rate:.0f} MiB/s, memory {peak} MiB")
        check(martlet.stop(), "it didn't end in good order")
        for line in martlet.complaints():
            print(line)
            failures += 1
    finally:
        if martlet and is_alive(martlet.pid()):
            martlet.stop()
        for server in started:
            server.stop()
    return failures


def main():
    parser = argparse.ArgumentParser(prog="real-clients", description=__doc__.split("\n\n")[0])
    parser.add_argument("--clients", default=",".join(NAMES), help="default: all")
    parser.add_argument("--stream", type=int, default=0, help="MiB of a long gRPC stream (0)")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    options = parser.parse_args()
    for name in options.clients.split(","):
        if name not in NAMES:
            parser.error(f"{name} is not one of {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="martlet-real.") as folder:
        return 1 if run(options, folder) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"real-clients: {failure}", file=sys.stderr)
        sys.exit(1)
