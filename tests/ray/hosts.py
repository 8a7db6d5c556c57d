"""Hosts of a cluster on one kernel: each has a network, processes and folders of its own. Their links can be cut, and they can be killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.ray import cluster

_OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""The words before a command that give it processes and mounts of its own."""


def missing() -> str | None:
    """Why there can be no such hosts here; None if there can."""
    if (reason := cluster.unasked() or cluster.missing()) is not None:
        return reason
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    programs = [name for name in ("ip", "unshare", "nsenter", "redis-server") if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} is missing: apt-get install iproute2 util-linux redis-server"
    network = Network()
    try:
        with network:
            one, two = network.host("p"), network.host("q")
            subprocess.run([*one.inside, *_OWN, "true"], check=True, capture_output=True)
            return (
                None if one.reaches(two) else "hosts of one bridge do not reach each other here: the machine's own firewall stands between"
            )
    except subprocess.CalledProcessError as error:
        network.__exit__()
        return f"there are no network namespaces here: {' '.join(error.cmd)}: {error.stderr.decode().strip()}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _remove(*words: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        ip(*words)


class Network:
    """A bridge with an address of its own, and hosts on it. A context manager."""

    def __init__(self) -> None:
        number = secrets.randbelow(1 << 15)
        self.mark = f"{number:04x}"
        self.bridge = f"ld{self.mark}"
        self.net = f"10.{64 + number // 256}.{number % 256}"
        self.address = f"{self.net}.1"
        self.hosts: list[Host] = []
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))

    def __enter__(self) -> Self:
        ip("link", "add", self.bridge, "type", "bridge")
        ip("address", "add", f"{self.address}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as each:  # whatever fails, the rest is done
            each.callback(shutil.rmtree, self.folder, ignore_errors=True)
            each.callback(_remove, "link", "delete", self.bridge)
            for host in self.hosts:
                each.callback(_remove, "netns", "delete", host.name)
                each.callback(host.kill)

    def host(self, name: str) -> Host:
        """A new host."""
        made = Host(self, name, f"{self.net}.{len(self.hosts) + 2}")
        self.hosts.append(made)
        made.connect(self)
        return made


class Host:
    """One host: a network namespace on the bridge; programs run in it with processes and mounts of their own."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.name, self.address = f"ld{network.mark}{name}", address
        self.folder = network.folder / name
        self.folder.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self._outer = f"{self.name}v"

    def connect(self, network: Network) -> None:
        """Make its network, with a link to the bridge."""
        ip("netns", "add", self.name)
        ip("link", "add", self._outer, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self._outer, "master", network.bridge, "up")
        for words in (("address", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            ip("-n", self.name, *words)
        ip("-n", self.name, "route", "add", "default", "via", network.address)

    @property
    def inside(self) -> list[str]:
        """The words before a command that run it in this host's network."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def reaches(self, other: Host) -> bool:
        """Whether a program here can connect to one there."""
        listen = "import socket; end = socket.create_server(('', 7000)); print('', flush=True); end.settimeout(20); end.accept()"
        connect = f"import socket; socket.create_connection(('{other.address}', 7000), 10)"
        python = [sys.executable, "-I", "-c"]
        with subprocess.Popen([*other.inside, *python, listen], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as listening:
            assert listening.stdout is not None
            listening.stdout.readline()
            found = subprocess.run([*self.inside, *python, connect], capture_output=True, check=False)
            listening.kill()
        return found.returncode == 0

    def start(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start a program with all that it will start, as the host's first process."""
        words = [*self.inside, *_OWN, *command]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                words, env=dict(environ), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def wait_for(self, text: str, seconds: float = 90) -> None:
        """Wait until the host's log has a text."""
        until = time.monotonic() + seconds
        while text not in (self.folder / "log").read_text():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill every process of it at once, as a machine that loses its power."""
        if self.process is not None and self.process.poll() is None:
            # The kernel kills a namespace of processes with its first one, and that one with `unshare`.
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)
        (self.folder / "log").unlink(missing_ok=True)

    def cut(self) -> None:
        """Cut its link: nothing comes through, and nobody is told."""
        ip("link", "set", self._outer, "down")

    def mend(self) -> None:
        """Mend the link."""
        ip("link", "set", self._outer, "up")

    def run(self, command: Sequence[str], environ: Mapping[str, str], seconds: float = 170) -> subprocess.CompletedProcess[str]:
        """Run a program in the host's network."""
        words: Any = [*self.inside, *command]
        return subprocess.run(words, env=dict(environ), capture_output=True, text=True, timeout=seconds, check=False)
