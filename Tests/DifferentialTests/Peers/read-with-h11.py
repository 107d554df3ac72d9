# Reads requests with h11, the parser of several Python servers: one case per line in hexadecimal,
# one line of output for each (Reading.swift describes the format).

import sys

import h11

ANSWER = h11.Response(status_code=400, headers=[("Content-Length", "0")])


def read(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    # No more bytes follow, so a truncated body is an error and not a wait.
    messages = []
    head, body = None, []
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return messages + ["."]
            if isinstance(event, h11.Request):
                pairs = "&".join(f"{name.hex()}={value.hex()}" for name, value in event.headers)
                head = f"{event.method.hex()}/{event.target.hex()}/{pairs}"
                body = []
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                messages.append(f"{head}/{b''.join(body).hex()}")
                # h11 reads the next request only after this one is answered. A 400 also declines an
                # upgrade and a tunnel.
                connection.send(ANSWER)
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return messages + ["-"]
                connection.start_next_cycle()
            else:
                return messages + ["-"]
    except h11.RemoteProtocolError as error:
        return messages + ["!" + "-".join(str(error).split())]


out = []
for line in sys.stdin:
    out.append(" ".join(read(bytes.fromhex(line))) + "\n")
sys.stdout.write("".join(out))
