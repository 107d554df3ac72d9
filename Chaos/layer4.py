"""Breaks the backends of a proxy under constant load of TCP connections, and counts lost ones.

One of three backends at a time is killed, frozen, restarted, deaf, or resets its connections. The
proxy reloads a changed configuration every second, and its binary is replaced twice. flows.py
judges every connection, with the logs of the backends. README.md in this folder explains the
results.
"""

import asyncio
import json
import os
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
from chaos import BackendProcess, Run, free_port, settled  # noqa: E402
from client import Faults  # noqa: E402
from comparison import compare, head_of, lost, row_of  # noqa: E402
from flows import FlowLoad  # noqa: E402
from proxies import CONNECT_SECONDS, Failure, HAProxy, Martlet, Nginx, is_alive  # noqa: E402

IDLE_SECONDS = 60
ROWS = [
    ("flows", "connections"),
    ("complete", "complete, both ways"),
    ("reset by its client", "reset by its client"),
    ("ended with its backend", "ended with its backend"),
    ("refused", "**refused**, although a backend was there"),
    ("dropped", "**dropped**, although its backend did not end it"),
    ("wrong", "**wrong** byte, or of another connection"),
    ("became an end", "**reset that became an end**"),
    ("stuck", "**stuck**"),
]
MUST_BE_ZERO = ["refused", "dropped", "wrong", "became an end", "stuck"]


class MartletTCP(Martlet):
    upgrades = True

    def configuration(self):
        whole = json.loads(super().configuration())
        whole["listeners"] = [
            {
                "name": "flows",
                "listen": f"127.0.0.1:{self.port}",
                "protocol": "tcp",
                "pool": "app",
            }
        ]
        pool = whole["pools"][0]
        pool["name"] = "app"
        pool["strategy"] = ["round-robin", "least-connections", "maglev"][self.variant % 3]
        pool["health"].update({"send": "PING\n", "reply": "+PONG"})
        pool["timeouts"] = {"connect": f"{CONNECT_SECONDS}s", "relay-idle": f"{IDLE_SECONDS}s"}
        # It is about requests.
        del pool["retry"]
        whole["limits"] = {"drain": f"{IDLE_SECONDS}s"}
        return json.dumps(whole)


class NginxStream(Nginx):
    # It starts no further binary while the former process still has connections.
    upgrades = False
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def configuration(self):
        servers = "".join(
            f"server 127.0.0.1:{port} max_fails=2 fail_timeout=1s;\n" for port in self.backends
        )
        return f"""
            {f"load_module {self.module};" if os.path.exists(self.module) else ""}
            {"user root;" if os.getuid() == 0 else ""}
            # In the foreground nginx ignores the upgrade signal.
            daemon on;
            worker_processes 2;
            pid {self.pid_file};
            error_log {self.folder}/error.log;
            events {{ worker_connections 2000; }}
            stream {{
                upstream app {{
                    {"least_conn;" if self.variant % 2 else ""}
                    {servers}
                }}
                server {{
                    listen 127.0.0.1:{self.port} reuseport;
                    proxy_pass app;
                    proxy_connect_timeout {CONNECT_SECONDS}s;
                    proxy_timeout {IDLE_SECONDS}s;
                    # Without it, the first FIN ends both directions.
                    proxy_half_close on;
                }}
            }}
            """


class HAProxyTCP(HAProxy):
    # A reload is one.
    upgrades = False

    def configuration(self):
        servers = "\n".join(
            f"    server s{port} 127.0.0.1:{port} check inter 500ms fastinter 200ms fall 2 rise 1"
            for port in self.backends
        )
        return f"""
global
    nbthread 2
defaults
    mode tcp
    timeout connect {CONNECT_SECONDS}s
    timeout server {IDLE_SECONDS}s
    timeout client {IDLE_SECONDS}s
    timeout check 1s
    retries 3
    option redispatch 1
frontend site
    bind 127.0.0.1:{self.port}
    default_backend app
backend app
    balance {"leastconn" if self.variant % 2 else "roundrobin"}
    option tcp-check
    tcp-check send PING\\n
    tcp-check expect string +PONG
{servers}
"""


PROXIES = {proxy.name: proxy for proxy in (MartletTCP, NginxStream, HAProxyTCP)}


class FlowRun(Run):
    kinds = ["kill", "freeze", "restart", "deaf", "reset"]

    async def upgrades(self):
        if self.proxy.upgrades:
            await super().upgrades()


def warm_up(proxy, load):
    """Opens connections and reloads before the load, so that one-time allocations are done."""

    async def some():
        for _ in range(3):
            await asyncio.gather(*(load.one(0) for _ in range(10)))
            proxy.reload()
            await asyncio.sleep(0.5)

    asyncio.run(some())


def run_one(name, options, folder):
    backends = [BackendProcess(folder, index, "flow_backend.py") for index in range(3)]
    extra = {"binary": os.path.abspath(options.binary)} if name == "martlet" else {}
    proxy = None
    try:
        port = free_port()
        ports = [backend.port for backend in backends]
        proxy = PROXIES[name](folder, port, ports, "", "", **extra)
        load = FlowLoad(port, Faults(), options.seed, options.clients, options.seconds)
        # Until the health checks know all backends.
        time.sleep(1)
        warm_up(proxy, load)
        before = settled(proxy, 0, 2)
        run = FlowRun(proxy, backends, load, load.faults, options.seconds, options.seed)
        asyncio.run(run.go())
        after = settled(proxy, before[0])
        in_good_order = proxy.stop()
        load.judge([backend.delivered() for backend in backends])
        complaints = load.complaints + proxy.complaints()
    finally:
        if proxy and is_alive(proxy.pid()):
            proxy.stop()
        for backend in backends:
            if backend.child.poll() is None:
                backend.stop()
    if not in_good_order:
        complaints.append("it didn't end in good order")
    return {
        "tally": {key: load.tally[key] for key, _ in ROWS},
        "counts": dict(run.counts),
        "descriptors": [before[0], after[0]],
        "slowest": round(load.slowest, 2),
        "complaints": complaints,
    }


def verdict(result):
    """Returns the list of failures."""
    against = lost(result, MUST_BE_ZERO)
    if not result["tally"]["complete"]:
        against.append("no connection was complete")
    return against


def table(results):
    lines = head_of(list(results), ROWS, results)
    cells = ["{} → {}".format(*result["descriptors"]) for result in results.values()]
    lines.append(row_of("descriptors, before → after", cells))
    slowest = [f"{result['slowest']} s" for result in results.values()]
    return lines + [row_of("slowest connect", slowest)]


def main():
    praise = "no connection lost, crossed or changed"
    return compare("layer4", __doc__, PROXIES, 24, run_one, table, verdict, praise)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"layer4: {failure}", file=sys.stderr)
        sys.exit(1)
