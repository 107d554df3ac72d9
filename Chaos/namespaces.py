"""Machines in network namespaces: hosts with addresses and routes, joined by cables and switches.

`enter` starts the program again in namespaces of its own, so that nothing of this machine changes,
and everything is gone when it ends. Root may do that, and on most systems every user (user
namespaces). The program can open sockets on each host (`Host.inside`), and start processes there.
"""

import contextlib
import ctypes
import os
import subprocess
import sys

from proxies import Failure, find

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
MARK = "MARTLET_LAB"
# EX_UNAVAILABLE: what is missing isn't Martlet's.
UNAVAILABLE = 69


def enter(name):
    """Returns in new namespaces, as root there; ends the program if that is not allowed."""
    if os.environ.get(MARK) == name:
        # `ip netns` and other programs keep their files there.
        run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        run(["ip", "link", "set", "lo", "up"])
        return
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.getuid() != 0:
        command += ["--user", "--map-root-user"]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        print(
            f"{name}: network namespaces are not allowed here ({probe.stderr.strip()}): run it as"
            " root, or allow user namespaces",
            file=sys.stderr,
        )
        sys.exit(UNAVAILABLE)
    environment = {**os.environ, MARK: name}
    sys.exit(subprocess.run([*command, sys.executable, *sys.argv], env=environment).returncode)


def run(command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Host:
    """A namespace with its loopback."""

    def __init__(self, name):
        self.name = name
        run(["ip", "netns", "add", name])
        self.ip("link set lo up")

    def ip(self, text):
        return run(["ip", "-n", self.name, *text.split()])

    def set(self, key, value):
        """A setting of the kernel, which has one for each namespace."""
        self.run("sysctl", "-q", f"net.{key}={value}")

    def run(self, *command):
        return run(["ip", "netns", "exec", self.name, *command])

    def start(self, command, log, **more):
        with open(log, "ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, **more,
            )  # fmt: skip

    @contextlib.contextmanager
    def inside(self):
        """Sockets that are made here belong to this host."""
        with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{self.name}") as other:
            enter_namespace(other)
            try:
                yield
            finally:
                enter_namespace(own)


def enter_namespace(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise Failure(f"setns: {os.strerror(ctypes.get_errno())}")


class Switch(Host):
    """Cables from several hosts meet here."""

    def __init__(self, name):
        super().__init__(name)
        self.ip("link add bridge type bridge")
        self.ip("link set bridge up")

    def join(self, host, port, *addresses):
        """A cable from the host's new port, with these addresses there."""
        cable(host, port, self, f"to-{host.name}")
        self.ip(f"link set to-{host.name} master bridge")
        for address in addresses:
            host.ip(f"addr add {address} dev {port} nodad" if ":" in address
                    else f"addr add {address} dev {port}")  # fmt: skip


def cable(host, port, other, other_port):
    run(
        ["ip", "link", "add", port, "netns", host.name, "type", "veth", "peer", "name", other_port,
         "netns", other.name]
    )  # fmt: skip
    for each, name in ((host, port), (other, other_port)):
        each.ip(f"link set {name} up")


def programs(*names):
    for name in names:
        find(name)
