"""Peers that send as much expensive input as they can: one function per flood.

Each runs in its own process until it is stopped. It gets the ports of a run (floods.py) by name:
`plain`, `tolerant`, `tls` and `admin` are ports of Martlet. `shout` is the port of a backend.
"""

import ctypes
import os
import select
import signal
import socket
import ssl
import time

# By default a head has at most 100 fields and 32 KiB, with 32 extra bytes per field.
LONG, FOLDS = 31_000, 90
BLOCK = 1 << 16
PR_SET_PDEATHSIG = 1


def head(*lines, target="/calm", method="GET"):
    lines = [f"{method} {target} HTTP/1.1", "Host: a.example.com", *lines]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def dial(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def pump(port, refrain, prefix=b"", reads=True):
    """Sends the same bytes endlessly, and opens a new connection after the last one ended."""
    block = refrain * max(1, BLOCK // len(refrain))
    while True:
        try:
            with dial(port) as connection:
                connection.sendall(prefix)
                connection.setblocking(False)
                say_on(connection, block, reads)
        except OSError:
            pass


def say_on(connection, block, reads):
    rest = memoryview(block)
    readers = [connection] if reads else []
    while True:
        readable, writable, _ = select.select(readers, [connection], [])
        if readable and not connection.recv(BLOCK):
            return
        if writable:
            rest = rest[connection.send(rest) :] or memoryview(block)


# MARK: Heads


def dots(places):
    lines = ["GET / HTTP/1.1", "Host: a" + "." * LONG]
    pump(places["plain"], ("\r\n".join(lines) + "\r\n\r\n").encode())


def odd_name(places):
    pump(places["tolerant"], head("(" * LONG + ": x"))


def odd_name_with_folds(places):
    pump(places["tolerant"], head("1" * 24_000 + ": a", *[" b"] * FOLDS))


def odd_name_with_space_and_folds(places):
    pump(places["tolerant"], head("1" * 24_000 + " : a", *[" b"] * FOLDS))


def connection_list(places):
    fields = [f"c{number}: d" for number in range(80)]
    pump(places["plain"], head("Connection: " + "b," * 12_000, *fields))


def forwarded_list(places):
    """From a trusted proxy, because Martlet ignores the field of other clients."""
    lists = ["X-Forwarded-For: " + "127.0.0.1," * 2_500, "Accept: " + "a," * 2_000]
    pump(places["plain"], head(*lists))


# MARK: Many small things


def local_answers(places):
    pump(places["plain"], head(target="/here"))


def redirects(places):
    pump(places["plain"], head(target="/away"))


def small_chunks(places):
    start = head("Transfer-Encoding: chunked", target="/sink", method="POST")
    pump(places["plain"], b"1\r\nm\r\n", prefix=start)


def sending_on(places):
    """After the last response of the connection."""
    pump(places["plain"], b"m" * BLOCK, prefix=b"nonsense\r\n\r\n")


# MARK: Backends


def shout(port, interim, hears=False):
    """A backend that only sends interim heads, or one that listens but never answers."""
    block = interim * max(1, BLOCK // len(interim))
    server = socket.create_server(("127.0.0.1", port), reuse_port=False)
    while True:
        connection, _ = server.accept()
        if os.fork():
            connection.close()
            reap()
            continue
        die_with_parent()
        try:
            while connection.recv(BLOCK):
                while not hears:
                    connection.sendall(block)
        finally:
            os._exit(0)


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def ask_shouting(places, target):
    while True:
        try:
            with dial(places["plain"]) as connection:
                connection.settimeout(30)
                connection.sendall(head("Connection: close", target=target))
                while connection.recv(BLOCK):
                    pass
        except OSError:
            pass


def continues(places):
    ask_shouting(places, "/continue")


def early_hints(places):
    ask_shouting(places, "/hints")


# MARK: TLS


class OpenSSL:
    """Key updates and renegotiation, which Python's ssl module doesn't offer."""

    MAX_VERSION, TLS12, WANTED = 124, 0x0303, 1

    def __init__(self, version=None):
        self.library = ctypes.CDLL("libssl.so.3")
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.library, name).restype = ctypes.c_void_p
        method = ctypes.c_void_p(self.library.TLS_client_method())
        self.context = ctypes.c_void_p(self.library.SSL_CTX_new(method))
        if version:
            self.library.SSL_CTX_ctrl(
                self.context, self.MAX_VERSION, ctypes.c_long(version), ctypes.c_void_p()
            )

    def sessions(self, port):
        """One session after another; each runs until Martlet closes it."""
        while True:
            try:
                with dial(port) as connection:
                    connection.settimeout(None)
                    session = ctypes.c_void_p(self.library.SSL_new(self.context))
                    self.library.SSL_set_fd(session, connection.fileno())
                    if self.library.SSL_connect(session) == 1:
                        yield session
                    self.library.SSL_free(session)
            except OSError:
                pass


def key_updates(places):
    openssl = OpenSSL()
    for session in openssl.sessions(places["tls"]):
        while (
            openssl.library.SSL_key_update(session, 0) == 1
            and openssl.library.SSL_do_handshake(session) == 1
        ):
            pass


def renegotiations(places):
    """OpenSSL stops when a renegotiation is refused, so each needs a new connection."""
    openssl = OpenSSL(OpenSSL.TLS12)
    for session in openssl.sessions(places["tls"]):
        while (
            openssl.library.SSL_renegotiate(session) == 1
            and openssl.library.SSL_do_handshake(session) == 1
        ):
            pass


def short_records(places, said):
    """Endless data in records of one byte."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    while True:
        try:
            with context.wrap_socket(dial(places["tls"])) as connection:
                connection.sendall(said)
                while True:
                    connection.sendall(b"m")
        except OSError:
            pass


def short_records_of_a_head(places):
    short_records(places, b"GET / HTTP/1.1\r\nHost: a.example.com\r\nX: ")


def short_records_of_a_body(places):
    short_records(places, head("Content-Length: 1000000000", target="/sink", method="POST"))


def half_hellos(places):
    """Only the header of a ClientHello of 131 KB, on fewer connections than the limit."""
    half = bytes([22, 3, 1, 16, 1, 1, 1, 255, 240]) + b"m" * 12
    connections = []
    while True:
        try:
            while len(connections) < 100:
                connections.append(dial(places["tls"]))
                connections[-1].sendall(half)
        except OSError:
            pass
        connections.clear()


# MARK: Admin


def admin_pipelined(places):
    """Sends requests and never reads."""
    connections = []
    for _ in range(8):
        connections.append(dial(places["admin"]))
        connections[-1].setblocking(False)
    block = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
    while True:
        _, writable, _ = select.select([], connections, [])
        for connection in writable:
            try:
                connection.send(block)
            except OSError:
                connections.remove(connection)
        if not connections:
            return admin_pipelined(places)


def admin_strangers(places):
    """As many connections as possible, each with a byte from time to time."""
    connections = []
    while True:
        try:
            while len(connections) < 128:
                connections.append(dial(places["admin"]))
            for connection in list(connections):
                connection.send(b"G")
        except OSError:
            connections.clear()
        time.sleep(0.5)


FLOODS = {
    "Host of 31,000 dots": dots,
    "field name of 31,000 brackets, defensive": odd_name,
    "long name with folds, defensive": odd_name_with_folds,
    "the same with a space before the colon": odd_name_with_space_and_folds,
    "Connection with 12,000 elements": connection_list,
    "X-Forwarded-For with 2,500 elements": forwarded_list,
    "pipelined fixed answers": local_answers,
    "pipelined redirects": redirects,
    "chunks of one byte": small_chunks,
    "sending on behind the last answer": sending_on,
    "100 (Continue) from a backend": continues,
    "103 with 30 KB from a backend": early_hints,
    "TLS 1.3 key updates": key_updates,
    "TLS 1.2 renegotiations": renegotiations,
    "TLS records of one byte, a head": short_records_of_a_head,
    "TLS records of one byte, a body": short_records_of_a_body,
    "ClientHellos of 131 KB, begun": half_hellos,
    "admin: pipelined, nothing read": admin_pipelined,
    "admin: slow clients, one byte at a time": admin_strangers,
}
