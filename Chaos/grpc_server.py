"""A gRPC server over TLS, without generated code: messages are bytes. For servers.py.

  /echo.Echo/Unary, ServerStream, ClientStream, Both     the four shapes of calls
  /echo.Echo/Wait                     answers after as many milliseconds
  /echo.Echo/Metadata                 sends x-head and x-trailer back, in head and trailers

A stream of the server repeats the message as often as its metadata `count` says. SIGTERM ends it
gracefully. With a fourth argument, connections get a GOAWAY after about as many seconds.
"""

import concurrent.futures
import signal
import sys
import time

import grpc

MESSAGE_MAX = 8 << 20


def metadata(context):
    return dict(context.invocation_metadata())


def unary(request, context):
    return request


def server_stream(request, context):
    for _ in range(int(metadata(context).get("count", "1"))):
        yield request


def client_stream(requests, context):
    """The number of bytes of all messages."""
    return str(sum(len(request) for request in requests)).encode()


def both(requests, context):
    yield from requests


def wait(request, context):
    end = time.monotonic() + int(request) / 1000
    while time.monotonic() < end and context.is_active():
        time.sleep(0.01)
    return b"cancelled" if not context.is_active() else b"waited"


def returned(request, context):
    sent = metadata(context)
    context.send_initial_metadata([("x-head", sent["x-head"])])
    context.set_trailing_metadata([("x-trailer", sent["x-trailer"])])
    return request


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Metadata": grpc.unary_unary_rpc_method_handler(returned),
}


def main():
    port, chain, key, *age = sys.argv[1:]
    options = [
        ("grpc.max_receive_message_length", MESSAGE_MAX),
        ("grpc.max_metadata_size", 64 << 10),
        ("grpc.so_reuseport", 0),
    ]
    if age:
        options.append(("grpc.max_connection_age_ms", int(float(age[0]) * 1000)))
        options.append(("grpc.max_connection_age_grace_ms", 10_000))
    workers = concurrent.futures.ThreadPoolExecutor(max_workers=16)
    server = grpc.server(workers, options=options)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("echo.Echo", HANDLERS),)
    )
    with open(chain, "rb") as chain_file, open(key, "rb") as key_file:
        pair = (key_file.read(), chain_file.read())
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(10))
    server.wait_for_termination()


if __name__ == "__main__":
    main()
