"""Maximum load on four workers, for a binary with a sanitizer.

wrk sends requests over TLS, on kept connections and on a new one per request. Meanwhile one of
three backends at a time is killed, and the configuration changes every second. This does not check
the responses, as chaos.py does. It fails if a connection is refused or if Martlet does not exit
normally. The caller checks the reports of the sanitizer.
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from chaos import BackendProcess, free_port, make_certificates  # noqa: E402
from comparison import SECONDS_MAX  # noqa: E402
from proxies import Failure, Martlet, find, is_alive  # noqa: E402

WORKERS = 4
KILL_EVERY, KILLED_FOR = 6, 2


def start_load(port, seconds, *extra):
    command = [find("wrk"), "-t", "1", "-c", "16", "-d", f"{seconds}s", *extra]
    return subprocess.Popen(
        command + [f"https://127.0.0.1:{port}/item/7?size=3000"], stdout=subprocess.PIPE, text=True
    )


def trouble(martlet, backends, seconds):
    """Reloads every second, and keeps one backend down for a third of the time."""
    victims, victim = itertools.cycle(backends), None
    for second in range(seconds):
        martlet.reload()
        if second % KILL_EVERY == 0:
            victim = next(victims)
            victim.stop()
        elif victim and second % KILL_EVERY == KILLED_FOR:
            victim.start()
            victim = None
        time.sleep(1)
    if victim:
        victim.start()


def press(options, folder):
    """Runs the load; returns the list of failures."""
    chain, key, _ = make_certificates(folder)
    backends = [BackendProcess(folder, index) for index in range(3)]
    martlet, loads = None, []
    try:
        ports, port = [backend.port for backend in backends], free_port()
        martlet = Martlet(
            folder, port, ports, chain, key, binary=os.path.abspath(options.binary), workers=WORKERS
        )
        time.sleep(1)
        for extra in ([], ["-H", "Connection: close"]):
            loads.append(start_load(port, options.seconds, *extra))
        trouble(martlet, backends, options.seconds)
        said = [load.communicate()[0] for load in loads]
        against = [] if martlet.stop() else ["Martlet didn't exit normally"]
        against += martlet.complaints()
    finally:
        for load in loads:
            load.kill()
        if martlet and is_alive(martlet.pid()):
            martlet.stop()
        for backend in backends:
            if backend.child.poll() is None:
                backend.stop()
    for text in said:
        print(text.strip())
        if not re.search(r"[1-9]\d* requests in", text):
            against.append("no request was answered")
        if re.search(r"Socket errors: connect [1-9]", text):
            against.append("connections were refused")
    return against


def main():
    parser = argparse.ArgumentParser(prog="pressure", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="of load (60)")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    options = parser.parse_args()
    options.seconds = min(options.seconds, SECONDS_MAX)
    with tempfile.TemporaryDirectory(prefix="martlet-pressure.") as folder:
        against = press(options, folder)
    print("pressure: " + ("; ".join(against[:20]) or "no connection refused"))
    return 1 if against else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"pressure: {failure}", file=sys.stderr)
        sys.exit(1)
