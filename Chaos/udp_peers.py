"""UDP through Martlet between real peers: DNS (nsd and dnsperf), SIP (sipp) and iperf3.

While dnsperf runs, one of two name servers is killed and started again, and Martlet is replaced by
an upgrade. Each query must be answered, except those that were under way to the killed server. Long
SIP calls and an iperf3 stream go through an upgrade too.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ZONE = """$ORIGIN example.test.
@ 60 IN SOA ns hostmaster 1 3600 600 86400 60
@ 60 IN NS ns
ns 60 IN A 127.0.0.1
www 60 IN A 192.0.2.1
"""


def free_port():
    """A port that is free for TCP and for UDP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                stream.bind(("127.0.0.1", 0))
                try:
                    datagrams.bind(stream.getsockname())
                except OSError:
                    continue
                return stream.getsockname()[1]


class NameServer:
    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder)
        self.port = free_port()
        with open(os.path.join(self.folder, "zone"), "w") as file:
            file.write(ZONE)
        with open(os.path.join(self.folder, "nsd.conf"), "w") as file:
            file.write(
                f"server:\n ip-address: 127.0.0.1@{self.port}\n username: \"\"\n"
                f" zonesdir: {self.folder}\n database: \"\"\n pidfile: {self.folder}/pid\n"
                f" xfrdfile: {self.folder}/xfrd\n zonelistfile: {self.folder}/list\n"
                f" logfile: {self.folder}/log\n server-count: 1\n rrl-ratelimit: 0\n"
                f" identity: {name}\nremote-control:\n control-enable: no\n"
                f"zone:\n name: example.test\n zonefile: zone\n"
            )
        self.start()

    def start(self):
        """Returns when it answers."""
        self.process = subprocess.Popen(
            [shutil.which("nsd") or "/usr/sbin/nsd", "-d", "-c", self.folder + "/nsd.conf"],
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while subprocess.run(
                ["dig", "-p", str(self.port), "@127.0.0.1", "+tries=1", "+timeout=1",
                 "www.example.test"], stdout=subprocess.DEVNULL).returncode != 0:
            if self.process.poll() is not None:
                sys.exit("nsd does not start")

    def kill(self):
        """Kills the processes of its session; each has the sockets, and some a group of its own."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    if int(file.read().rsplit(")", 1)[1].split()[3]) == self.process.pid:
                        os.kill(int(entry), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue
        self.process.wait()


class Martlet:
    def __init__(self, binary, folder, listeners, pools):
        self.binary, self.folder = binary, folder
        with open(os.path.join(folder, "config.json"), "w") as file:
            file.write(
                '{ "listeners": [%s], "pools": [%s], "workers": 2,'
                ' "process": { "pid-file": "pid" }, "log": { "target": "access.log" } }'
                % (", ".join(listeners), ", ".join(pools)))
        self.environment = {**os.environ, "RUNTIME_DIRECTORY": folder}
        self.log = open(os.path.join(folder, "martlet.log"), "w")
        self.process = subprocess.Popen(
            [binary, "run"], cwd=folder, env=self.environment, stderr=self.log)
        deadline = time.monotonic() + 20
        while "try: " not in self.text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("martlet doesn't listen: " + self.text())
            time.sleep(0.02)

    def text(self):
        with open(os.path.join(self.folder, "martlet.log")) as file:
            return file.read()

    def upgrade(self):
        subprocess.run(
            [self.binary, "upgrade"], cwd=self.folder, env=self.environment, check=True,
            stdout=subprocess.DEVNULL)

    def metric(self, prefix):
        page = subprocess.run(
            ["curl", "-sS", "--unix-socket", self.folder + "/admin.sock", "http://a/metrics"],
            capture_output=True, text=True).stdout
        return sum(
            float(line.split()[-1]) for line in page.splitlines() if line.startswith(prefix))

    def stop(self):
        with open(os.path.join(self.folder, "pid")) as file:
            os.kill(int(file.read()), signal.SIGTERM)
        self.process.wait(40)


def dns(binary, folder, seconds):
    servers = [NameServer(folder, "a"), NameServer(folder, "b")]
    port = free_port()
    backends = ", ".join(f'"127.0.0.1:{server.port}"' for server in servers)
    martlet = Martlet(
        binary, folder,
        [f'{{ "listen": "127.0.0.1:{port}", "protocol": "udp", "responses": 1 }}'],
        [f'{{ "backends": [{backends}], "ejection": {{ "base": "1s" }} }}'])
    queries = os.path.join(folder, "queries")
    with open(queries, "w") as file:
        file.write("www.example.test A\nexample.test NS\nmissing.example.test A\n")
    load = subprocess.Popen(
        ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", queries, "-l", str(seconds),
         "-c", "20", "-Q", "5000", "-t", "2"], stdout=subprocess.PIPE, text=True)
    time.sleep(seconds * 0.2)
    servers[0].kill()
    time.sleep(seconds * 0.3)
    servers[0].start()
    time.sleep(seconds * 0.2)
    martlet.upgrade()
    output = load.communicate()[0]
    number = lambda what: int(re.search(what + r":\s+(\d+)", output).group(1))
    sent, lost = number("Queries sent"), number("Queries lost")
    ejections = "ejected" in martlet.text()
    martlet.stop()
    for server in servers:
        server.kill()
    print(f"dns: {sent} queries, {lost} lost with a server killed and an upgrade;"
          f" ejected: {ejections}")
    # Those on their way when the server died, and one for each refusal that was reported too late.
    return lost <= 60


def sip(binary, folder, seconds):
    ports = [free_port() for _ in range(2)]
    backends = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    port = free_port()
    martlet = Martlet(
        binary, folder, [f'{{ "listen": "127.0.0.1:{port}", "protocol": "udp" }}'],
        [f'{{ "backends": [{backends}] }}'])
    servers = [
        subprocess.Popen(
            ["sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", str(each), "-nostdin"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for each in ports]
    time.sleep(0.5)
    calls = int(seconds * 10)
    clients = [
        subprocess.Popen(
            ["sipp", "-sn", "uac", "-i", "127.0.0.1", f"127.0.0.1:{port}", "-m", str(calls), "-r",
             "20", "-d", "2000", "-p", str(free_port()), "-nostdin", "-timeout", "90"], cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    time.sleep(seconds * 0.3)
    martlet.upgrade()
    failed = 0
    for client in clients:
        client.communicate()
        failed += client.returncode != 0
    for server in servers:
        server.kill()
    martlet.stop()
    print(f"sip: {2 * calls} calls of 2 s with an upgrade, clients that failed: {failed}")
    return failed == 0


def stream(binary, folder, seconds):
    tcp = free_port()
    server = subprocess.Popen(
        ["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(tcp)], stdout=subprocess.DEVNULL)
    port = free_port()
    martlet = Martlet(
        binary, folder,
        [f'{{ "name": "u", "listen": "127.0.0.1:{port}", "protocol": "udp", "pool": "u" }}',
         f'{{ "name": "t", "listen": "127.0.0.1:{port}", "protocol": "tcp", "pool": "t" }}'],
        [f'{{ "name": "{name}", "backends": ["127.0.0.1:{tcp}"], "health": "off" }}'
         for name in "ut"])
    load = subprocess.Popen(
        ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-u", "-b", "20M", "-l", "1200", "-t",
         str(int(seconds))], stdout=subprocess.PIPE, text=True)
    time.sleep(seconds * 0.5)
    martlet.upgrade()
    output = load.communicate()[0]
    server.wait(10)
    martlet.stop()
    lost = re.findall(r"(\d+)/(\d+) \(([\d.e+-]+)%\)\s+receiver", output)
    print(f"iperf3: lost/total: {lost}, with an upgrade")
    return bool(lost) and float(lost[0][2]) < 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    passed = True
    for part in (dns, sip, stream):
        with tempfile.TemporaryDirectory(prefix="martlet-udp-") as folder:
            passed &= part(os.path.abspath(arguments.binary), folder, arguments.seconds)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
