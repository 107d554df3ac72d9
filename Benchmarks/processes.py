"""The processes of a measurement: pinned to a core, measured, and always stopped at the end.

CPU times come from /proc/PID/task/*/schedstat (nanoseconds, with kernel time). So the cost of a
request can be measured at any rate of the load generator. Nothing here depends on which programs
run.
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
    """Ends the run with a message of one line."""


def free_ports(count):
    """Ports of 127.0.0.1 that are free now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_datagram_port():
    """A UDP port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_descriptor_limit(wanted=65536):
    """Raises the limit of open files to the maximum, and returns the new limit."""
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
    """The time that the core was busy, and the time that the hypervisor took (steal)."""
    with open("/proc/stat") as stat:
        line = next(line for line in stat if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, irq, softirq, steal = (int(text) for text in line.split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def settle_child(cores):
    """Returns what the child runs before exec: sets its cores, and SIGTERM when the parent dies."""

    def settle():
        os.sched_setaffinity(0, cores)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return settle


class Process:
    """A server that runs until `stop`, with all its child processes."""

    def __init__(self, name, command, cores, folder):
        self.name = name
        self.log = os.path.join(folder, f"{name}.log")
        # This setting is for load generators only.
        environment = {key: os.environ[key] for key in os.environ if key != "OPENSSL_CONF"}
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
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
        """CPU time of all threads of the process and its children."""
        total = 0
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
                    total += int(schedstat.read().split()[0])
        return total

    def resident_bytes(self):
        """Its private memory: memory that master and worker share is counted once."""
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
        """Terminates the process, waits, then kills it and the rest of its children."""
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
    """Runs a load generator to its end, at most `seconds`, and returns its output."""
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
    """Runs `main`. A failure ends the script with one line that begins with its name."""
    try:
        main()
    except Failure as failure:
        sys.exit(f"{name}: {failure}")
