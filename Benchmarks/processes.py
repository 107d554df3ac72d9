"""The processes a measurement starts: pinned to a core, metered, and ended whatever happens.

Times come from /proc/PID/task/*/schedstat (nanoseconds on a processor, kernel time included), so
that a request's cost is measured at whatever rate the load generator reaches. Nothing here knows
what the processes are.
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Ends the run with one line for the reader."""


def free_ports(count):
    """Ports of 127.0.0.1 that the kernel says are free now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def raise_descriptor_limit(wanted=65536):
    """Raises the limit of open files as far as is allowed, and returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        limit = max(soft, wanted)
    else:
        limit = hard
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, PermissionError):
            pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def two_cores():
    """The core of the peer under test, and the core of everything else."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise Failure("a benchmark needs two cores: one for the peer, one for load and backend")
    return cores[-1], cores[0]


def core_seconds(core):
    """How long the core has been busy, and how long the hypervisor gave it to others."""
    with open("/proc/stat") as stat:
        line = next(line for line in stat if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, irq, softirq, steal = (int(text) for text in line.split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def settle_child(cores):
    """Makes what runs in the child before exec: its cores, and death with its parent."""

    def settle():
        os.sched_setaffinity(0, cores)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return settle


class Process:
    """A server that runs until `stop`, and everything it forked."""

    def __init__(self, name, command, cores, folder):
        self.name = name
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                preexec_fn=settle_child(cores),
            )

    def pids(self):
        found, waiting = [], [self.child.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as children:
                        waiting += [int(child) for child in children.read().split()]
            except FileNotFoundError:
                pass
        return found

    def nanoseconds(self):
        """Time on a processor, summed over all threads of the whole family."""
        total = 0
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
                    total += int(schedstat.read().split()[0])
        return total

    def resident_bytes(self):
        """Memory of its own: what is shared between master and worker counts once."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                for line in rollup:
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def wait_for_port(self, port, seconds=10, host="127.0.0.1"):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failure(f"{self.name} exited with {self.child.returncode}:\n{self.tail()}")
            with socket.socket() as probe:
                if probe.connect_ex((host, port)) == 0:
                    return
            time.sleep(0.02)
        raise Failure(f"{self.name} did not listen within {seconds} s:\n{self.tail()}")

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-10:])

    def stop(self):
        """Asks, waits, then insists: first the process, then whatever it left behind."""
        family = self.pids()
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        for pid in family[1:]:
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    orphan = int(stat.read().rsplit(")", 1)[1].split()[1]) == 1
                if orphan:
                    os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass


def run_pinned(command, core, seconds):
    """Runs a load generator to its end and returns what it printed; bounded by `seconds`."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=settle_child({core}),
    )
    try:
        output, errors = child.communicate(timeout=seconds)
    except BaseException as failure:
        child.kill()
        child.communicate()
        if isinstance(failure, subprocess.TimeoutExpired):
            raise Failure(f"{command[0]} did not end within {seconds} s") from None
        raise
    if child.returncode != 0:
        raise Failure(f"{command[0]} exited with {child.returncode}: {errors.strip() or output}")
    return output


def run_script(name, main):
    """Runs `main`; a failure ends the script with one line that begins with its name."""
    try:
        main()
    except Failure as failure:
        sys.exit(f"{name}: {failure}")
