"""apt of this machine in a folder of its own: with a base's packages, sources, pins and keys, and without this machine's configuration.

apt's hooks are commands: those of neither are read. Of this machine only what reaches the network counts: proxies, certificates, logins.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from lading.images.base import Base
from lading.images.debian import release_facts
from lading.images.debs import Deb, Installed, MustRunError, look
from lading.images.store import Store
from lading.images.unpacked import unpack
from lading.model.problems import LadingError
from lading.model.secrets import redact_urls

_OF_BASE = ("etc/apt/sources.list", "etc/apt/sources.list.d/", "etc/apt/preferences", "etc/apt/trusted.gpg", "etc/apt/keyrings/",
            "usr/share/keyrings/", "var/lib/dpkg/")  # fmt: skip
_NOT_OF_BASE = "var/lib/dpkg/info/"
_NETWORK = re.compile(
    r"Acquire::(?:https?|ftp)(?:::[^ ]+)?::(?:Proxy|Proxy-Auto-Detect|ProxyAutoDetect|No-Proxy|CaInfo|CaPath|SslCert|SslKey)(?:::[^ ]*)? .*;",
    re.IGNORECASE,
)
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")
_ENDS = ('"', ";", "\n")
"""What would end a value of apt's configuration."""
_CHECKS = re.compile(r"Acquire::(?:Check-Valid-Until|Check-Date|Max-ValidTime)(?:::[^ ]*)? .*;", re.IGNORECASE)
"""What a machine that reaches an old mirror says about it: for its own sources alone."""
_SIGNED_BY = re.compile(r"(?im)(?:^Signed-By:|signed-by=)[^\]\n]*")
_NAMES_ONE = re.compile(r"(?im)^(?:deb |URIs:)")
_UNKNOWN = re.compile(
    r"^E: (?:Unable to locate package|Couldn't find any package by|Package '?([^' ]+)'? has no installation|Version )", re.MULTILINE
)
_UNKNOWN_NAME = re.compile(r"^E: Unable to locate package (\S+)", re.MULTILINE)
_NOT_FETCHED = re.compile(r"^[EW]: (?:Failed to fetch|Some index files failed)", re.MULTILINE)
_LYING = re.compile(r"^'file:([^']+)'", re.MULTILINE)
_CHANGED = re.compile(r"^(?:Remv (\S+)|Inst (\S+) \[)", re.MULTILINE)


class AptError(Exception):
    """apt could not choose or fetch packages here. Its text tells nothing of this machine or its network, so that it may stand in an image.

    ``said`` is what was said about it here. ``certain``: apt cannot anywhere, as its sources are those of the base and lack some.
    """

    def __init__(self, why: str, said: str = "", *, certain: bool = False) -> None:
        super().__init__(why)
        self.said, self.certain = said, certain


class Apt:
    """apt-get for one base. Nothing of this machine changes.

    Raises:
        AptError: if what it needs of the base cannot be laid out here.
    """

    def __init__(self, folder: Path, base: Base, store: Store) -> None:
        self.folder, self.base = folder, base
        self.root = folder / "base"
        try:
            unpack(store, base.layers, self.root, lambda path: path.startswith(_OF_BASE) and not path.startswith(_NOT_OF_BASE))
            _keep_inside(self.root)
            for name in ("lists/partial", "archives/partial", "log"):
                (folder / name).mkdir(parents=True)
            self.installed = Installed.read(self.root)
        except (LadingError, OSError, RuntimeError) as error:
            reason = error.problems[0].what if isinstance(error, LadingError) else error
            raise AptError("apt of this machine cannot read the base", str(reason)) from error

    def fetch(self, packages: Sequence[str]) -> list[Deb]:
        """Everything that has to be added, fetched and looked at: from the base's sources, else, for the same release, from this machine's.

        Raises:
            AptError: if apt is not here, or cannot find or fetch something.
            MustRunError: if it would change packages that the base has.
        """
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            raise AptError("apt is not on this machine")
        if not (self.root / "var/lib/dpkg/status").is_file():
            raise AptError("the base has no record of its packages")
        if any(character in str(self.root) for character in (" ", *_ENDS)):
            raise AptError("apt takes no folder for temporary files with a space, a quote or a semicolon in its name")
        first: AptError | None = None
        for configure in (self._as_base, self._as_machine):
            if not configure():
                continue
            try:
                return self._fetched(packages, certain=configure == self._as_base)
            except AptError as error:
                if error.certain:
                    raise
                first = first or error
        raise first or AptError("the base names no sources of packages")

    def _fetched(self, packages: Sequence[str], *, certain: bool) -> list[Deb]:
        self._call("update")
        try:
            changed = _CHANGED.findall(self._call("install", "--simulate", "--yes", *packages))
        except AptError as error:
            names = _UNKNOWN_NAME.findall(error.said)
            close = self._close(names[0]) if names else ""
            raise AptError(str(error), f"{error.said}{close}", certain=certain and bool(_UNKNOWN.search(error.said))) from error
        if changed:
            raise MustRunError(f"apt would change {' and '.join(filter(None, changed[0]))}, which the base has")
        self._call("install", "--download-only", "--yes", *packages)
        # Those of a source on this machine's own disk are not copied, but used where they lie.
        lying = [Path(unquote(uri)) for uri in _LYING.findall(self._call("install", "--print-uris", "--yes", *packages))]
        return [look(path) for path in sorted((*(self.folder / "archives").glob("*.deb"), *lying), key=lambda path: path.name)]

    def _close(self, name: str) -> str:
        """Names that may have been meant."""
        found = difflib.get_close_matches(name, _output(["apt-cache", "pkgnames", name[:2]], self._environment()).split(), 3)
        return f" (there is {', '.join(found)})" if found else ""

    # -- configuration

    def _as_base(self) -> bool:
        etc, own = self.root / "etc/apt", self.folder / "sources"
        own.mkdir(exist_ok=True)
        found = {path.name: _text(path) for path in (etc / "sources.list", *(etc / "sources.list.d").glob("*"))}
        found = {name: text for name, text in found.items() if name.endswith((".list", ".sources")) and _NAMES_ONE.search(text)}
        for name, text in found.items():
            # The keys that they name are the base's.
            signed = _SIGNED_BY.sub(lambda said: re.sub(r"([\s,=:])/", rf"\1{self.root}/", said[0]), text)
            (own / name).write_text(signed, encoding="utf-8")
        self._configure(etc, own, Path("/dev/null"))
        return bool(found)

    def _as_machine(self) -> bool:
        """They may name a mirror that this machine reaches; the packages are the same where the release is."""
        if _release(release_facts(_text(Path("/etc/os-release")))) != _release(self.base.system):
            return False
        etc, own = Path("/etc/apt"), self.folder / "machine"
        own.mkdir(exist_ok=True)
        codename = self.base.system.get("VERSION_CODENAME", "")
        found = {path.name: _of_release(path, codename) for path in (etc / "sources.list", *(etc / "sources.list.d").glob("*"))}
        for name, text in found.items():
            (own / name).write_text(text, encoding="utf-8")
        self._configure(etc, own, Path("/dev/null"), _CHECKS.findall(self._machines()))
        return any(found.values())

    def _configure(self, keys: Path, parts: Path, single: Path, further: Sequence[str] = ()) -> None:
        """Write apt's configuration, with sources in a folder and a file, and ``keys`` for those that name none."""
        folder = self.folder
        own = "arm64" if self.base.platform.startswith("linux/arm64") else "amd64"
        # The base's word goes among commands that apt would run here: only what is a name for dpkg.
        architectures = [name for name in _text(self.root / "var/lib/dpkg/arch").split() if _ARCHITECTURE.fullmatch(name)] or [own]
        settings = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": single,
            "Dir::Etc::sourceparts": parts,
            "Dir::Etc::trusted": keys / "trusted.gpg",
            "Dir::Etc::trustedparts": keys / "trusted.gpg.d",
            "Dir::Etc::preferences": self.root / "etc/apt/preferences",
            "Dir::Etc::preferencesparts": self.root / "etc/apt/preferences.d",
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": self.root / "var/lib/dpkg/status",
            "Dir::Cache": folder,
            "Dir::Cache::archives": folder / "archives",
            "Dir::Log": folder / "log",
            "Debug::NoLocking": "true",
            "APT::Architecture": own,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
        }
        lines = [f"{name} {_quoted(str(value))};" for name, value in settings.items()]
        lines += [f"APT::Architectures {{ {' '.join(f'{_quoted(name)};' for name in architectures)} }};"]
        lines += [found[0] for found in _NETWORK.finditer(self._machines())]
        (folder / "apt.conf").write_text("\n".join([*lines, *further, ""]), encoding="utf-8")

    def _machines(self) -> str:
        """This machine's configuration as apt understands it."""
        return _output(["apt-config", "dump"], os.environ)

    def _environment(self) -> Mapping[str, str]:
        # The file of APT_CONFIG is read first, and says that no other is.
        return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "APT_CONFIG": str(self.folder / "apt.conf")}

    def _call(self, *words: str) -> str:
        done = subprocess.run(
            ["apt-get", "-qq", *words], capture_output=True, text=True, check=False, env=self._environment(), stdin=subprocess.DEVNULL
        )
        if done.returncode or (words[0] == "update" and _NOT_FETCHED.search(done.stderr)):
            text = redact_urls("\n".join(said(done.stderr)))
            text = text or f"apt-get {words[0]} ended with status {done.returncode}"
            raise AptError("apt of this machine could not choose or fetch the packages", text)
        return done.stdout


def _keep_inside(folder: Path) -> None:
    """Take away links that lead out of a folder: what is behind them would be this machine's."""
    top = os.path.realpath(folder)
    for path in [path for path in folder.rglob("*") if path.is_symlink()]:
        if not Path(os.path.realpath(path)).is_relative_to(top):  # unlike resolve() it minds no link that leads to itself
            path.unlink()


def said(output: str) -> list[str]:
    """The errors and warnings in what apt wrote."""
    lines = [line for line in output.splitlines() if line.startswith(("E:", "W:"))]
    return [line for line in lines if line.startswith("E:")] or lines


def _output(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a program of apt's prints; nothing where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ).stdout
    except OSError:
        return ""


def _quoted(text: str) -> str:
    """A value for apt's configuration, in which hooks are commands.

    Raises:
        AptError: if it would not end where it should; apt has no escape for that.
    """
    if any(character in text for character in _ENDS):
        raise AptError("apt of this machine cannot be configured for the base", f"It takes no {text!r}.")
    return f'"{text}"'


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _of_release(path: Path, codename: str) -> str:
    """The part of a list of sources that is the distribution's own: other vendors' are no matter of an image."""
    suites = rf"{re.escape(codename)}(?:[-/][\w./-]+)?"
    if path.suffix == ".list":
        return "".join(f"{line}\n" for line in _text(path).splitlines() if re.match(rf"deb (?:\[[^]]*\] *)?\S+ +{suites} ", line))
    parts = re.split(r"\n[ \t]*\n", _text(path)) if path.suffix == ".sources" else []
    return "\n\n".join(f"{part}\n" for part in parts if re.search(rf"(?im)^Suites:(?: +{suites})+ *$", part))


def _release(facts: Mapping[str, str]) -> tuple[str, str]:
    return facts.get("ID", ""), facts.get("VERSION_CODENAME", "")
