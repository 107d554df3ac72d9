"""Opens many TLS connections to a port of this machine, sends one request on each if told so, keeps
them idle, and reports how many were opened and how many are open at the end.

Bounded in count and time. The certificate is not verified: what is asked here is how many
connections are held, not with whom. As a library it is `Holder`; the process prints one line of
JSON once all are open and one at the end.
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

COUNT_MAX = 25_000  # from one address to one port there are some 28,000 ports
SECONDS_MAX = 600


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answer_ends(received):
    """Whether a whole answer with Content-Length has been received."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(body) >= int(value)
    return False


class Holder:
    """The connections that are held."""

    def __init__(self, port, path=None, timeout=10):
        self.port = port
        self.path = path
        self.timeout = timeout
        self.context = client_context()
        self.connections = []

    def open_one(self):
        connection = self.context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), self.timeout),
            server_hostname="localhost",
        )
        if self.path is not None:
            connection.sendall(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            received = b""
            while not answer_ends(received):
                piece = connection.recv(65536)
                if not piece:
                    raise ConnectionError("closed within the answer")
                received += piece
        connection.setblocking(False)
        self.connections.append(connection)

    def open(self, count):
        """Opens `count` more, as far as they can be; returns the first error, or None."""
        for _ in range(count):
            try:
                self.open_one()
            except (OSError, ssl.SSLError) as error:
                return f"{type(error).__name__}: {error}"
        return None

    def still_open(self):
        """How many the other side has not closed. Session tickets that arrive are read past."""
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
        "--seconds", type=float, default=10, help="how long they idle; ends early at EOF on a pipe"
    )
    options.add_argument("--path", help="send one GET for this path on each first")
    chosen = options.parse_args()
    count = min(chosen.count, COUNT_MAX, raise_descriptor_limit() - 100)
    if count < chosen.count:
        print(f"hold-idle: only {count} connections are possible here", file=sys.stderr)

    holder = Holder(chosen.port, chosen.path)
    begin = time.monotonic()
    error = holder.open(count)
    opened = len(holder.connections)
    report = {"opened": opened, "of": chosen.count, "seconds": round(time.monotonic() - begin, 2)}
    if error is not None:
        report["error"] = error
    print(json.dumps(report), flush=True)

    # A controlling program closes the pipe to end the hold; a terminal or /dev/null does not.
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
