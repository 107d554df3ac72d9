"""Opens many idle TLS connections to a port of this machine, and prints how many stay open.

With --path it first sends one request on each, over HTTP/1.1, or with --http2 over HTTP/2. Count
and time are limited. The certificate is not
verified, because only the number of open connections matters. Other scripts use the class `Holder`.
The process prints one line of JSON when all connections are open, and one at the end.
"""

import argparse
import json
import os
import select
import socket
import ssl
import stat
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from processes import raise_descriptor_limit  # noqa: E402

COUNT_MAX = 25_000  # There are about 28,000 ports for connections from one address to one port.
SECONDS_MAX = 600


# The frames of HTTP/2 that matter here.
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
ACK = END_STREAM = 1
END_HEADERS = 4


def client_context(protocol):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([protocol])
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answer_ends(received):
    """Whether a complete response with Content-Length was received."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(body) >= int(value)
    return False


def ask(connection, path):
    """One GET over HTTP/1.1, with its whole response."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = b""
    while not answer_ends(received):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed within the answer")
        received += piece


def frame(kind, flags=0, stream=0, payload=b""):
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def ask_http2(connection, path):
    """One GET over HTTP/2, the first of its connection, with its whole response."""
    if connection.selected_alpn_protocol() != "h2":
        raise ConnectionError("HTTP/2 was not selected")
    # :method GET, :scheme https, :path, :authority; the index of HPACK's static table, no Huffman.
    block = b"\x82\x87\x04" + bytes([len(path)]) + path.encode() + b"\x01\x09localhost"
    request = frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS) + request)
    received = b""
    while True:
        while len(received) >= 9:
            end = 9 + int.from_bytes(received[:3], "big")
            if len(received) < end:
                break
            kind, flags = received[3], received[4]
            stream = int.from_bytes(received[5:9], "big")
            received = received[end:]
            if kind in (RST_STREAM, GOAWAY):
                raise ConnectionError("the request was refused")
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK))
            if stream == 1 and kind in (0, HEADERS) and flags & END_STREAM:
                return
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed within the answer")
        received += piece


class Holder:
    """The open connections."""

    def __init__(self, port, path=None, timeout=10, http2=False):
        self.port = port
        self.path = path
        self.timeout = timeout
        self.ask = ask_http2 if http2 else ask
        self.context = client_context("h2" if http2 else "http/1.1")
        self.connections = []

    def open_one(self):
        connection = self.context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), self.timeout),
            server_hostname="localhost",
        )
        if self.path is not None:
            self.ask(connection, self.path)
        connection.setblocking(False)
        self.connections.append(connection)

    def open(self, count):
        """Opens up to `count` more connections; returns the first error, or None."""
        for _ in range(count):
            try:
                self.open_one()
            except (OSError, ssl.SSLError) as error:
                return f"{type(error).__name__}: {error}"
        return None

    def still_open(self):
        """The number of connections that the server has not closed. Ignores session tickets."""
        return sum(1 for connection in self.connections if self.is_open(connection))

    @staticmethod
    def is_open(connection):
        try:
            while connection.recv(65536):
                pass
            return False
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except (OSError, ssl.SSLError):
            return False

    def close(self):
        for connection in self.connections:
            connection.close()
        self.connections = []


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--port", type=int, required=True, help="a TLS port on 127.0.0.1")
    options.add_argument("--count", type=int, default=10_000, help=f"at most {COUNT_MAX}")
    options.add_argument(
        "--seconds", type=float, default=10, help="idle time; ends earlier at EOF of a pipe"
    )
    options.add_argument("--path", help="first send one GET for this path on each")
    options.add_argument("--http2", action="store_true", help="use HTTP/2")
    chosen = options.parse_args()
    count = min(chosen.count, COUNT_MAX, raise_descriptor_limit() - 100)
    if count < chosen.count:
        print(f"hold-idle: only {count} connections are possible on this machine", file=sys.stderr)

    holder = Holder(chosen.port, chosen.path, http2=chosen.http2)
    begin = time.monotonic()
    error = holder.open(count)
    opened = len(holder.connections)
    report = {"opened": opened, "of": chosen.count, "seconds": round(time.monotonic() - begin, 2)}
    if error is not None:
        report["error"] = error
    print(json.dumps(report), flush=True)

    # A program ends the wait by closing the pipe. A terminal or /dev/null does not end it.
    watched = [sys.stdin] if stdin_is_pipe() else []
    select.select(watched, [], [], max(0, min(chosen.seconds, SECONDS_MAX)))
    still = holder.still_open()
    print(json.dumps({"still_open": still}), flush=True)
    holder.close()
    sys.exit(0 if still == chosen.count else 1)


def stdin_is_pipe():
    return stat.S_ISFIFO(os.fstat(0).st_mode)


if __name__ == "__main__":
    main()
