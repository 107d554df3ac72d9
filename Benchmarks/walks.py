"""Every walk over a peer's bytes, as bytes of a given size that make it long, and what is answered.

`WALKS` has those over requests: a name, the listener (`plain`, `tolerant` in desync mode defensive,
or `admin`), what is sent for a size, and the status that must come. `ANSWERS` has those over what
backends answer. A size is in bytes or, where something else is counted, in what the name says.
"""

from dataclasses import dataclass
from typing import Callable

SIZE = 20_000
# A field counts 32 bytes more than it has.
FIELDS = 400


@dataclass(frozen=True)
class Walk:
    name: str
    status: int
    size: int
    make: Callable[[int], bytes]
    listener: str = "plain"


def head(*lines, target="/local", method="GET", host="a.test", close=True):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines]
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def repeat(text, size):
    return text * (size // len(text))


def fields(line, count):
    return [line.format(number) for number in range(count)]


def value(name, text, status=200, target="/local", size=SIZE, listener="plain", end=""):
    """A field with so many bytes of a text in its value."""

    def make(size):
        return head(f"{name}: {repeat(text, size)}{end}", target=target)

    return Walk(f"{name} of {text!r}, {target}", status, size, make, listener)


def path(text, status=200, start="/local/", size=SIZE):
    return Walk(
        f"target {start} of {text!r}", status, size, lambda n: head(target=start + repeat(text, n))
    )


def many(line, status=200, target="/local", listener="plain", size=FIELDS):
    return Walk(
        f"many fields: {line}, {target}",
        status,
        size,
        lambda n: head(*fields(line, n), target=target),
        listener,
    )


def name(text, after, status, listener="plain", folds=0):
    """A field name of so many bytes, with something behind it, and folded lines in proportion."""

    def make(size):
        return head(repeat(text, size) + after, *[" b"] * (folds * size // SIZE))

    title = f"name of {text!r} and {after!r}, {folds} folds, {listener}"
    return Walk(title, status, SIZE, make, listener)


def body(title, make, status=200, size=SIZE, target="/sink", end="0\r\n\r\n"):
    start = head("Transfer-Encoding: chunked", target=target, method="POST")
    return Walk(title, status, size, lambda n: start + (make(n) + end).encode())


def trailers(count):
    return "0\r\n" + "".join(fields("t{}: x\r\n", count)) + "\r\n"


def admin(title, start, text):
    def make(size):
        return head(target=start + repeat(text, size), host="127.0.0.1")

    return Walk(f"admin: {title}", 404, 3_500, make, "admin")


def named_fields(size, connection):
    return head(f"Connection: {connection}", *fields("h{}: x", size), target="/backend/plain")


WALKS = [
    # The head and its lines.
    path("a"),
    Walk(
        *("target in absolute form", 200, SIZE),
        lambda n: head(target="http://a.test/local/" + "a" * n),
    ),
    Walk("method and garbage", 400, SIZE, lambda n: b"A" * n + b"\r\n\r\n"),
    value("X", "a"),
    value("X", "a\t"),
    value("X", " "),
    many("h{}: x"),
    many("accept-{}: x", target="/backend/plain"),
    name("n", ": x", 200),
    name("(", ": x", 400),
    # Host, and the route table behind it.
    Walk("Host of dots", 400, SIZE, lambda n: head(host="a" + "." * n)),
    Walk("Host of labels", 200, 60, lambda n: head(host="a." * n + "test", target="/local")),
    Walk("Host in brackets", 400, SIZE, lambda n: head(host="[" + ":" * n + "]")),
    Walk("CONNECT to dots", 400, SIZE, lambda n: b"CONNECT a%s:1 HTTP/1.1\r\n\r\n" % (b"." * n)),
    # What a tolerant listener repairs.
    name("(", ": x", 200, "tolerant"),
    name("1", "(: x", 200, "tolerant"),
    name("contentlengt", "(: x", 200, "tolerant"),
    name("transferencodin", "(: x", 200, "tolerant"),
    name("1", " : x", 200, "tolerant"),
    name("1", ": x", 200, "tolerant", folds=300),
    name("1", " : x", 200, "tolerant", folds=300),
    name("con-tent-len", " : x", 200, "tolerant", folds=300),
    Walk("folds", 200, FIELDS, lambda n: head("X: y", *[" z"] * n), "tolerant"),
    value("Content-Length", "0,", 200, listener="tolerant", end="0"),
    # Lists that frame, or that say what is expected.
    value("Content-Length", "0,", 400, end="0"),
    value("Transfer-Encoding", "gzip,", 501, end="chunked"),
    value("Transfer-Encoding", "chunked,", 400, end="chunked"),
    value("Expect", "100-continue,", 200, end="100-continue"),
    value("Expect", ",", 200),
    # Hop-by-hop fields.
    value("Connection", "b,", target="/backend/plain"),
    value("Connection", "te,", target="/backend/plain"),
    value("Connection", ",", target="/backend/plain"),
    Walk("Connection and as many fields", 200, FIELDS, lambda n: named_fields(n, "b," * n)),
    Walk(
        *("Connection that names as many fields", 200, FIELDS),
        lambda n: named_fields(n, ",".join(f"H{number}" for number in range(n))),
    ),
    Walk(
        *("Connection fields, one for each", 200, FIELDS),
        lambda n: head(*fields("Connection: h{}", n), target="/backend/plain"),
    ),
    Walk(
        *("Upgrade", 200, SIZE),
        lambda n: head(
            *("Connection: upgrade", "Upgrade: " + "a," * (n // 2)), target="/backend/plain"
        ),
    ),
    # Who asks.
    value("X-Forwarded-For", "127.0.0.1,", target="/backend/plain"),
    value("X-Forwarded-For", "1,", target="/backend/plain"),
    value("X-Forwarded-For", "1.", target="/backend/plain"),
    value("X-Forwarded-For", "::", target="/backend/plain"),
    many("X-Forwarded-For: 127.0.0.1", target="/backend/plain"),
    value("Forwarded", "for=127.0.0.1,", target="/backend/plain"),
    value("Forwarded", "a=b;", target="/backend/plain"),
    value("Forwarded", 'for="[::1]";', target="/backend/plain"),
    value("Forwarded", '"', target="/backend/plain"),
    many("X_Forwarded_For: {}", target="/backend/plain"),
    many("X_Request_ID: {}", target="/backend/plain"),
    value("X-Request-ID", "a", target="/backend/plain"),
    many("X-Request-ID: {}", target="/backend/plain"),
    Walk(
        *("traceparent of a version to come", 200, SIZE),
        lambda n: head("traceparent: 01-" + "a" * 32 + "-" + "b" * 16 + "-01-" + "c" * n),
    ),
    many("traceparent: 00-{:032x}-000000000000000a-01", size=200),
    value("tracestate", "a=b,"),
    # Cookies, and what a route takes away or puts in.
    value("Cookie", "a=b;", target="/sticky"),
    value("Cookie", "srv=;", target="/sticky"),
    value("Cookie", "srv=0123456789abcdef;", target="/sticky"),
    value("Cookie", ";", target="/sticky"),
    value("Cookie", " ", target="/sticky"),
    many("Cookie: srv={}", target="/sticky"),
    many("X-Gone: {}", target="/edited"),
    # Paths.
    path("a/../"),
    path("./"),
    path("/"),
    path("a/%2e%2e/"),
    path("%41"),
    path("%2f"),
    path("\\"),
    path("a%", 400),
    Walk(
        *("path up and down again", 400, SIZE),
        lambda n: head(target="/" + "a/" * (n // 10) + "../" * (n // 10 + 1)),
    ),
    # Answers of Martlet's own: redirects, and errors in the form that is wanted.
    path("a", 308, "/away/"),
    path("a=b&", 308, "/away?"),
    value("Accept", "a/b,", 404, target="/nowhere"),
    value("Accept", "text/html;q=0.5,", 404, target="/nowhere"),
    Walk(
        *("Accept with parameters", 404, SIZE),
        lambda n: head("Accept: text/html" + ";a=b" * (n // 4), target="/nowhere"),
    ),
    many("Accept: a/{}", 404, target="/nowhere"),
    # The log: escaped, and without what is secret.
    path("%22", 404, "/nowhere?"),
    path("token=1&", 404, "/nowhere?"),
    path("&", 404, "/nowhere?"),
    path("=", 404, "/nowhere?"),
    path("%74oken=1;", 404, "/nowhere?"),
    value("User-Agent", '"'),
    value("User-Agent", "\xff"),
    value("User-Agent", "\xc2\x80"),
    value("User-Agent", "\xe2\x82"),
    value("Referer", "?token=\xc2\x80&"),
    # Bodies of requests.
    body("chunks of one byte", lambda n: repeat("1\r\nm\r\n", n)),
    body("chunk with an extension", lambda n: "1;" + "e" * (n // 40) + "\r\nm\r\n"),
    body("chunks with extensions", lambda n: repeat("1;e=f\r\nm\r\n", n)),
    body("a chunk of many", lambda n: f"{n:x}\r\n" + "m" * n + "\r\n"),
    body("trailer", lambda n: "0\r\nX: " + "y" * (n // 6) + "\r\n\r\n", end=""),
    body("trailers", lambda n: trailers(n), size=15, end=""),
    # Many requests.
    Walk(
        *("pipelined requests", 200, 40),
        lambda n: head(close=False) * (n - 1) + head(),
    ),
    Walk("empty lines", 400, SIZE, lambda n: b"\r\n" * (n // 2)),
    # The admin interface, whose heads are smaller.
    admin("query", "/nothing?", "a=b&"),
    admin("query of one name", "/nothing?", "a&"),
    admin("path", "/nothing", "/a"),
    admin("escapes", "/nothing/", "%41"),
]


@dataclass(frozen=True)
class Answer:
    name: str
    status: int
    size: int
    make: Callable[[int], bytes]


def answer(*lines, start="HTTP/1.1 200 OK", content="", length=True):
    lines = [start, *lines] + ([f"Content-Length: {len(content)}"] if length else [])
    return ("\r\n".join(lines) + "\r\n\r\n" + content).encode("latin-1")


def answer_value(name, text, status=200, end=""):
    return Answer(
        f"answer: {name} of {text!r}", status, SIZE // 2,
        lambda n: answer(f"{name}: {repeat(text, n)}{end}"),
    )


def answer_chunks(title, make, size=SIZE, end="0\r\n\r\n"):
    start = answer("Transfer-Encoding: chunked", length=False)
    return Answer(f"answer: {title}", 200, size, lambda n: start + (make(n) + end).encode())


ANSWERS = [
    Answer("plain", 200, 1, lambda n: answer()),
    answer_value("X", "a"),
    answer_value("Connection", "b,"),
    answer_value("Connection", "te,"),
    answer_value("Set-Cookie", "a=b;"),
    answer_value("Content-Encoding", ","),
    Answer(
        *("answer: reason", 200, SIZE // 2),
        lambda n: answer(start="HTTP/1.1 200 " + "O" * n),
    ),
    Answer(
        *("answer: lengths", 200, SIZE // 2),
        lambda n: answer("Content-Length: " + "0," * (n // 2) + "0", length=False),
    ),
    Answer("answer: many fields", 200, 45, lambda n: answer(*fields("h{}: x", n))),
    Answer("answer: blanks before colons", 200, 45, lambda n: answer(*fields("h{}   : x", n))),
    Answer(
        *("answer: a name with blanks behind it", 200, SIZE // 2),
        lambda n: answer("n" * (n // 2) + " " * (n // 2) + ": x"),
    ),
    Answer(
        *("answer: Connection that names as many fields", 200, 45),
        lambda n: answer(
            "Connection: " + ",".join(f"H{number}" for number in range(n)), *fields("h{}: x", n)
        ),
    ),
    Answer(
        *("answer: interim heads", 200, 120),
        lambda n: answer(start="HTTP/1.1 103 Hints", length=False) * n + answer(),
    ),
    Answer(
        *("answer: interim heads without an end", 502, 2_000),
        lambda n: answer(start="HTTP/1.1 100 Continue", length=False) * n + answer(),
    ),
    answer_chunks("chunks of one byte", lambda n: repeat("1\r\nm\r\n", n)),
    answer_chunks("chunks with extensions", lambda n: repeat("1;e=f\r\nm\r\n", n)),
    answer_chunks("a chunk of many", lambda n: f"{n:x}\r\n" + "m" * n + "\r\n"),
    answer_chunks("trailers", lambda n: trailers(n), 15, ""),
]
