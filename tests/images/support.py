"""What the tests of images share: a small base made of this machine's own files, a real registry, engines that work."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from lading.images.base import load_base
from lading.images.layout import Layout
from lading.images.manifest import make_manifest
from lading.images.media import CONFIG, MANIFEST, Descriptor, canonical, digest_of
from lading.images.reference import parse_reference
from lading.images.registry import Registry
from lading.images.store import Store
from lading.images.unpacked import decompressed
from tests.support.ports import free_port

SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
PREDICTOR = """\
from cog import BasePredictor, Input
import greeting


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.word = greeting.__version__

    def predict(self, name: str = Input(description="who"), times: int = Input(default=1, ge=1)) -> str:
        return f"hello {name} {self.word} " * times
"""
PROJECT = {
    "cog.yaml": "build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n",
    "requirements.txt": "greeting==1.0\nlarge==1.0\n",
    "predict.py": PREDICTOR,
}


def which(name: str) -> str:
    """A program's path; the test is skipped where there is none."""
    path = shutil.which(name, path=SBIN)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a folder; returns it."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


# -- a base of this machine's own files

_GLIBC = (
    "libc",
    "libm",
    "libdl",
    "libpthread",
    "librt",
    "libutil",
    "libresolv",
    "ld-linux-x86-64",
    "ld-linux-aarch64",
    "libnss_files",
    "libnss_dns",
)
_TOOLS = ("sh", "cat", "id", "mkdir", "cp", "ls", "env", "sleep", "true")


def make_base(folder: Path) -> Path:
    """A root file system of the C library, a shell and little else; no Python. Skipped on a machine without glibc and ldd."""
    ldd = which("ldd")
    wanted: set[Path] = set()
    for tool in _TOOLS:
        program = Path(which(tool)).resolve()
        wanted.add(program)
        shown = subprocess.run([ldd, program], capture_output=True, text=True, check=False).stdout
        wanted |= {Path(word) for line in shown.splitlines() for word in line.split() if word.startswith("/")}
    places = {path.parent for path in wanted if path.name.startswith("libc.so")}
    if not places:
        pytest.skip("this machine's programs are not linked with glibc")
    for place in places:
        wanted |= {path for name in _GLIBC for path in place.glob(f"{name}.so*")}
    for name in ("usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "etc", "var/lib/dpkg", "tmp", "proc", "dev", "sys", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (folder / name).symlink_to(f"usr/{name}")
    for path in wanted:
        name = str(path).lstrip("/")
        target = folder / (name if name.startswith("usr/") else f"usr/{name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for tool in _TOOLS:
        link = folder / "usr/bin" / tool
        if not link.exists():
            link.symlink_to(Path(which(tool)).resolve().name)
    level = os.confstr("CS_GNU_LIBC_VERSION").split()[1] if hasattr(os, "confstr") else "2.31"  # type: ignore[union-attr]
    status = f"Package: libc6\nStatus: install ok installed\nArchitecture: {_debian()}\nVersion: {level}-1\n\n"
    write(
        folder,
        {"etc/os-release": "ID=small\nVERSION_CODENAME=test\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n", "var/lib/dpkg/status": status},
    )
    (folder / "tmp").chmod(0o1777)
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return folder


def with_libraries(base: Path, target: Path, *others: str) -> Path:
    """A copy of the base with the libraries that the modules of this Python need, and ``others``: the test channel's CPython brings none."""
    folder: Path = shutil.copytree(base, target, symlinks=True)
    modules = Path(sysconfig.get_path("stdlib")).glob("lib-dynload/*.so")
    shown = subprocess.run([which("ldd"), *modules, *others], capture_output=True, text=True, check=False).stdout
    for library in {Path(word) for line in shown.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")}:
        place = folder / str(library).lstrip("/")
        if library.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, place)
    return folder


def _debian() -> str:
    return "arm64" if os.uname().machine == "aarch64" else "amd64"


# -- the command


@dataclass
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass
class Command:
    """``lading`` as a process, with a store and an index of its own."""

    home: Path
    index: str
    cwd: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: Any, check: bool = True, cwd: Path | None = None, **variables: str) -> Ran:
        process = subprocess.run(
            [sys.executable, "-m", "lading", *map(str, words)],
            env=self.variables(variables),
            cwd=cwd or self.cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
            stdin=subprocess.DEVNULL,
        )
        assert not check or process.returncode == 0, process.stdout + process.stderr
        return Ran(process.returncode, process.stdout, process.stderr)

    def variables(self, further: Mapping[str, str]) -> dict[str, str]:
        """The variables that it runs with."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "LADING_", "COG_"))}
        environ |= {"LADING_HOME": str(self.home), "UV_DEFAULT_INDEX": self.index, "UV_CACHE_DIR": str(self.home / "uv"), "NO_COLOR": "1"}
        return environ | {"HOME": str(self.cwd), "PATH": SBIN, **self.environ, **further}

    def python(self, *words: str) -> str:
        """What a Python prints that runs as the command does."""
        command = [sys.executable, *words]
        return subprocess.run(command, env=self.variables({}), cwd=self.cwd, capture_output=True, text=True, check=True).stdout


def without_engines(tmp_path: Path) -> str:
    """A PATH with what a build needs of this machine, apt among it, but no container engine."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("apt-get", "apt-config", "apt-cache", "gpgv", "dpkg-deb", "dpkg", "sh", "tar", "ldd", "cat", "xz", "rm", "git"):
        if path := shutil.which(tool):
            (tools / tool).symlink_to(path)
    return str(tools)


# -- a registry


class RunningRegistry:
    """A real docker-registry on loopback."""

    def __init__(self, folder: Path, *, login: bool = False) -> None:
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        folder.mkdir(parents=True)
        auth = ""
        if login:
            # "alice" with the password "wonder land", as `htpasswd -B` writes it
            (folder / "htpasswd").write_text("alice:$2b$04$dyl8RZ6XTIb4PZgFAaVlP.0D8871c3YYNj/RPO6fb3x7jKsUbZcEe\n")
            auth = f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}\n"
        config = f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '{self.host}'}}\n{auth}"
        (folder / "config.yml").write_text(config)
        self.command = [which("docker-registry"), "serve", str(folder / "config.yml")]
        self.log = (folder / "log").open("w")

    def begin(self) -> None:
        """Serve, with what it had before."""
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError("docker-registry does not answer")

    def end(self) -> None:
        """Serve no more."""
        self.process.terminate()
        self.process.wait(60)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        self.log.close()


def push_base(host: str, base: Path, platform: str, folder: Path, tag: str | None = None) -> dict[str, Any]:
    """A folder as the image ``bases`` of a registry, under a tag or its digest alone; returns its entry for an index."""
    store = Store(folder / "base-store")
    loaded = load_base(str(base), platform, store)
    config = canonical({**loaded.config, "rootfs": {"type": "layers", "diff_ids": [loaded.layers[0].diff_id]}})
    store.add(config)
    manifest = make_manifest(config, loaded.layers, {})
    with Registry(parse_reference(f"{host}/bases:all")) as repository:
        repository.push(loaded.layers[0].descriptor, store)
        repository.push(Descriptor(media_type=CONFIG, digest=digest_of(config), size=len(config)), store)
        repository.put_manifest(manifest, MANIFEST, tag or digest_of(manifest))
    system, _, architecture = platform.partition("/")
    return {
        "mediaType": MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "platform": {"os": system, "architecture": architecture},
    }


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler], kind: type[ThreadingHTTPServer] = ThreadingHTTPServer) -> Iterator[str]:
    """A server of HTTP on loopback; gives its host and port."""
    server = kind(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- podman


@cache
def podman_environ(folder: str) -> dict[str, str]:
    """Variables with which podman runs containers on hosts that restrict it; the test is skipped where it does not."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    runtime = "runc" if shutil.which("runc", path=SBIN) else "crun"
    hard = min(20000, __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE)[1])
    (place / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = ["nofile={hard}:{hard}", "nproc=4096:4096"]\n'
        f'[engine]\ncgroup_manager = "cgroupfs"\nruntime = "{runtime}"\nevents_logger = "file"\n'
    )
    (place / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{place / "graph"}"\nrunroot = "{place / "run"}"\n')
    return {"CONTAINERS_CONF": str(place / "containers.conf"), "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"), "PATH": SBIN}


def podman(environ: Mapping[str, str], *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman to its end."""
    done = subprocess.run(
        [which("podman"), *words], env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=150
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def container(environ: Mapping[str, str], image: str, *flags: str) -> Iterator[tuple[str, int]]:
    """A running container: its name and the port on loopback that leads to its service."""
    port = free_port()
    name = f"lading-test-{port}"
    podman(environ, "run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:5000", *flags, image)
    try:
        yield name, port
    finally:
        podman(environ, "rm", "-f", "-t", "0", name, check=False)


# -- images read by the standard library alone


def manifest_of(layout: Path, name: str = "") -> Any:
    """The manifest of a layout's image (its only one, unless a name is given)."""
    reader = Layout(layout)
    entries = [
        entry for entry in reader.entries() if not name or entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == name
    ]
    return json.loads(reader.read(entries[-1]["digest"]))


def files_of(layout: Path, digest: str) -> dict[str, tarfile.TarInfo]:
    """A layer's entries by path, read by `gzip` and `tarfile`."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(Layout(layout).read(digest)))) as archive:
        return {entry.name: entry for entry in archive}


def content_of(blob: bytes) -> dict[str, bytes]:
    """Every file of a layer, whatever it is compressed with."""
    with decompressed(io.BytesIO(blob)) as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}  # type: ignore[union-attr]
