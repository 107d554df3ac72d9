"""Martlet, nginx and HAProxy with the same three backends, configured for maximum reliability.

All have two workers, the same timeouts, and retries only of idempotent requests. `reload` applies a
changed configuration, `upgrade` replaces the binary without downtime. Martlet runs without its
retry budget, and its replay buffer has the size of the largest body. The test checks that
everything that may be retried is retried, and the default limits would prevent some retries.
"""

import json
import os
import shutil
import signal
import subprocess
import time

CONNECT_SECONDS, RESPONSE_SECONDS = 1, 2


class Failure(Exception):
    """Ends the run with a message of one line."""


def find(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
    if path is None:
        raise Failure(f"'{program}' is not installed")
    return path


def until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise Failure(f"{what}: not within {seconds} s")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def family(pid):
    """The process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        pid = waiting.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    waiting += [int(child) for child in children.read().split()]
            found.append(pid)
        except FileNotFoundError:
            pass
    return found


class Proxy:
    name = ""

    def __init__(self, folder, port, backends, certificate, key):
        self.folder, self.port, self.backends = folder, port, backends
        self.certificate, self.key = certificate, key
        self.variant = 0
        self.pid_file = os.path.join(folder, "pid")
        self.log = os.path.join(folder, f"{self.name}.log")
        self.seen = set()
        self.configure()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )
        try:
            until(f"{self.name} starts", self.pid)
        except Failure as failure:
            self.child.kill()
            raise Failure(f"{failure}: {self.tail()}") from None

    def configure(self):
        """Writes a configuration that differs from the previous one."""
        self.variant += 1
        path = os.path.join(self.folder, "fresh")
        with open(path, "w") as file:
            file.write(self.configuration())
        os.rename(path, self.config)

    def pid(self):
        """The process that serves, or the parent of the processes that serve."""
        try:
            with open(self.pid_file) as file:
                pid = int(file.read().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return 0
        self.seen.add(pid)
        return pid

    def signal(self, number):
        """Sends a signal to the process that serves, if there is one."""
        if pid := self.pid():
            os.kill(pid, number)

    def reload(self):
        self.configure()
        self.signal(signal.SIGHUP)

    def measures(self):
        """Open descriptors and resident memory in KiB, over all processes."""
        descriptors = resident = 0
        for pid in family(self.pid()):
            try:
                descriptors += len(os.listdir(f"/proc/{pid}/fd"))
                with open(f"/proc/{pid}/status") as status:
                    line = next(line for line in status if line.startswith("VmRSS:"))
                    resident += int(line.split()[1])
            except (FileNotFoundError, StopIteration):
                pass
        return descriptors, resident

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-20:])

    def stop(self):
        """Stops all its processes; returns whether they exited normally."""
        if is_alive(self.pid()):
            self.signal(signal.SIGTERM)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and any(is_alive(pid) for pid in self.seen):
            self.child.poll()
            time.sleep(0.05)
        left = [pid for pid in self.seen if is_alive(pid)]
        for pid in left:
            for each in family(pid):
                os.kill(each, signal.SIGKILL)
        self.child.wait()
        return not left

    def complaints(self):
        """The errors in its log."""
        return []


class Martlet(Proxy):
    name = "martlet"

    def __init__(self, *arguments, binary, workers=2):
        self.binary, self.workers = binary, workers
        super().__init__(*arguments)

    @property
    def config(self):
        return os.path.join(self.folder, "config.json")

    def configuration(self):
        strategy = ["round-robin", "least-connections", "random"][self.variant % 3]
        return json.dumps(
            {
                "listeners": [
                    {
                        "listen": f"127.0.0.1:{self.port}",
                        "tls": {"certificates": [{"chain": self.certificate, "key": self.key}]},
                    }
                ],
                "pools": [
                    {
                        "backends": [f"127.0.0.1:{port}" for port in self.backends],
                        "strategy": strategy,
                        "health": {
                            "interval": "500ms",
                            "fast-interval": "200ms",
                            "timeout": "1s",
                            "fall": 2,
                            "rise": 1,
                        },
                        "ejection": {"failures": 2, "base": "1s", "max": "2s"},
                        "timeouts": {
                            "connect": f"{CONNECT_SECONDS}s",
                            "response": f"{RESPONSE_SECONDS}s",
                        },
                        "retry": {"budget-percent": 100, "replay-size": "1MiB"},
                    }
                ],
                "workers": self.workers,
                "process": {"pid-file": "pid"},
                "log": {"target": "access.log"},
            }
        )

    def command(self):
        return [self.binary, "run"]

    def upgrade(self):
        done = subprocess.run(
            [self.binary, "upgrade"], cwd=self.folder, capture_output=True, text=True, timeout=90
        )
        if done.returncode != 0:
            raise Failure(f"the upgrade failed: {done.stderr}{self.tail()}")
        self.pid()

    def complaints(self):
        with open(self.log, errors="replace") as log:
            lines = log.read().splitlines()
        found = [line for line in lines if " error " in line]
        ended = sum(" stopped requests=" in line for line in lines)
        if ended != len(self.seen):
            found.append(f"{ended} of {len(self.seen)} processes exited normally")
        return found


class Nginx(Proxy):
    name = "nginx"

    @property
    def config(self):
        return os.path.join(self.folder, "nginx.conf")

    def configuration(self):
        servers = "".join(
            f"server 127.0.0.1:{port} max_fails=2 fail_timeout=1s;\n" for port in self.backends
        )
        return f"""
            {"user root;" if os.getuid() == 0 else ""}
            # In the foreground nginx ignores the upgrade signal.
            daemon on;
            worker_processes 2;
            pid {self.pid_file};
            error_log {self.folder}/error.log;
            events {{ worker_connections 2000; }}
            http {{
                access_log {self.folder}/access.log;
                client_body_temp_path {self.folder}/body;
                proxy_temp_path {self.folder}/proxy;
                fastcgi_temp_path {self.folder}/fastcgi;
                uwsgi_temp_path {self.folder}/uwsgi;
                scgi_temp_path {self.folder}/scgi;
                upstream app {{
                    {"least_conn;" if self.variant % 2 else ""}
                    {servers}
                    keepalive 64;
                    keepalive_timeout 4s;
                }}
                server {{
                    listen 127.0.0.1:{self.port} ssl reuseport;
                    ssl_certificate {self.certificate};
                    ssl_certificate_key {self.key};
                    location / {{
                        proxy_pass http://app;
                        proxy_http_version 1.1;
                        proxy_set_header Connection "";
                        proxy_next_upstream error timeout;
                        proxy_next_upstream_tries 3;
                        proxy_connect_timeout {CONNECT_SECONDS}s;
                        proxy_read_timeout {RESPONSE_SECONDS}s;
                    }}
                }}
            }}
            """

    def command(self):
        return [find("nginx"), "-p", self.folder, "-e", "stderr", "-c", self.config]

    def upgrade(self):
        old = self.pid()
        os.kill(old, signal.SIGUSR2)
        until("the new nginx starts", lambda: self.pid() not in (0, old))
        time.sleep(0.5)  # Nothing shows when the workers are ready.
        os.kill(old, signal.SIGQUIT)


class HAProxy(Proxy):
    name = "haproxy"

    @property
    def config(self):
        return os.path.join(self.folder, "haproxy.cfg")

    def configuration(self):
        pem = os.path.join(self.folder, "site.pem")
        if not os.path.exists(pem):
            with open(pem, "w") as file:
                for path in (self.certificate, self.key):
                    with open(path) as part:
                        file.write(part.read())
        servers = "\n".join(
            f"    server s{port} 127.0.0.1:{port} check inter 500ms fastinter 200ms fall 2 rise 1"
            for port in self.backends
        )
        return f"""
global
    nbthread 2
    hard-stop-after 30s
defaults
    mode http
    timeout connect {CONNECT_SECONDS}s
    timeout server {RESPONSE_SECONDS}s
    timeout client 30s
    timeout http-keep-alive 60s
    retries 3
    option redispatch 1
frontend site
    bind 127.0.0.1:{self.port} ssl crt {pem}
    default_backend app
backend app
    balance {"leastconn" if self.variant % 2 else "roundrobin"}
    retry-on conn-failure empty-response response-timeout
    http-request disable-l7-retry if METH_POST
{servers}
"""

    def command(self):
        return [find("haproxy"), "-W", "-f", self.config, "-p", self.pid_file]

    def reload(self):
        """In HAProxy a reload is also an upgrade: the master starts its binary again."""
        self.configure()
        self.signal(signal.SIGUSR2)

    def upgrade(self):
        self.reload()


PROXIES = {proxy.name: proxy for proxy in (Martlet, Nginx, HAProxy)}
