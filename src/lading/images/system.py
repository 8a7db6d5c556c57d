"""Debian packages as a layer. Where no package needs its scripts to run, their files are put there; else apt runs in a build container.

apt itself chooses the packages, from the base's own sources and beside what the base has installed, and checks their signatures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

from lading.images.base import Base, copy_entry
from lading.images.layers import LayerWriter
from lading.images.media import Compression, Kind, Layer
from lading.images.recipe import Recipe
from lading.images.store import Store
from lading.images.tar import Entry
from lading.model.decisions import Decision
from lading.model.decisions import Kind as DecisionKind
from lading.model.events import Event, Phase, Reporter
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass

STEP = "Fetching system packages"
_KEYRINGS = ("/usr/share/keyrings", "/etc/apt/trusted.gpg.d")
_SOURCES = ("etc/apt/sources.list", "etc/apt/sources.list.d/")
# What such a script does is done when a container starts, or is not needed in one: caches of the loader, links that are there already.
_HARMLESS = re.compile(
    r"\s*(#.*|set -\w+|exit 0|:|fi|then|else|esac|;;|if \[ .*|ldconfig|(if|elif) .*; then|dpkg-maintscript-helper .*|case \"?\$1\"?( in)?|"
    r"(configure|triggered|abort-\w+|upgrade|install|remove|purge|\*)([|][\w-]+)*\).*|rm -f /var/cache/.*|.*\|\| true)\s*"
)
_LYING = re.compile(r"^'file:([^']+)'", re.MULTILINE)
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file, fetched. ``scripts`` are those of its maintainer that would have to run."""

    name: str
    version: str
    path: Path
    scripts: tuple[str, ...]


def system_layer(base: Base, recipe: Recipe, store: Store, reporter: Reporter) -> tuple[Layer, Decision]:
    """The packages as a layer, and how it was made.

    Raises:
        LadingError: if a package cannot be had, or needs a script to run and no build container is to be had.
    """
    packages, compression = recipe.system_packages, recipe.compression
    names = sorted(packages)  # a layer that two projects share must not be named by the one that came first
    title = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    key = fold_hashes(["debian by name", *(layer.diff_id for layer in base.layers), *names, str(compression)])
    note = store.note("system", key)
    if note is not None and not recipe.steps.again and store.has(note["layer"]["digest"]):
        return Layer.from_json(note["layer"]), _decision(packages, str(note["how"]))
    reporter(Event(step=STEP, phase=Phase.STARTED, message=title))
    try:
        with tempfile.TemporaryDirectory(prefix="lading-apt-") as folder:
            debs = _Apt(Path(folder), base).fetch(packages) if shutil.which("apt-get") and base.files.get("var/lib/dpkg/status") else None
            needing = [deb.name for deb in debs or () if deb.scripts]
            if debs is None or needing:
                layer, how = _by_running(base, recipe, needing, title, store, reporter)
            else:
                layer = _by_extracting(debs, base, store, compression, title, key)
                how = f"the files of {len(debs)} packages; none of them has a script that would have to run"
    except BaseException:
        reporter(Event(step=STEP, phase=Phase.FAILED))
        raise
    store.keep_note("system", key, {"how": how, "layer": layer.as_json()})
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=title))
    return layer, _decision(packages, how)


def _decision(packages: Sequence[str], how: str) -> Decision:
    return Decision(
        rule="system-packages-layer",
        kind=DecisionKind.CHOSEN,
        subject="system packages",
        asked=", ".join(packages),
        chose="a layer of their own",
        because=how,
        instead="a base image that has them: --base IMAGE",
    )


class _Apt:
    """apt in a folder of its own: the base's installed packages and sources, this machine's keys; nothing of this machine changes."""

    def __init__(self, folder: Path, base: Base) -> None:
        self.folder, self.base = folder, base
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "lists/partial", "archives/partial", "dpkg", "log"):
            (folder / name).mkdir(parents=True)
        (folder / "dpkg" / "status").write_text(base.files["var/lib/dpkg/status"], encoding="utf-8")
        self._write_sources()

    def _write_sources(self) -> None:
        """This machine's sources where it runs the same release (they may name a mirror that it reaches), else the base's."""
        place = self.folder / "etc/apt/sources.list.d"
        place.mkdir(parents=True)
        if _release(_os_release()) == _release(self.base.system):
            for source in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
                if source.is_file() and source.suffix in (".list", ".sources"):
                    shutil.copy(source, place / source.name)
            return
        for name, text in self.base.files.items():
            if name.startswith(_SOURCES):
                (place / (name.rpartition("/")[2] if name.endswith((".list", ".sources")) else "base.list")).write_text(
                    text, encoding="utf-8"
                )

    def fetch(self, packages: Sequence[str]) -> list[Deb]:
        """Everything that has to be added, fetched and looked at.

        Raises:
            LadingError: if apt cannot find or fetch something.
        """
        self._call("update")
        self._call("install", "--download-only", "--yes", *packages)
        # Those of a source on this machine's own disk are not copied, but used where they lie.
        lying = [Path(unquote(uri)) for uri in _LYING.findall(self._call("install", "--print-uris", "--yes", *packages))]
        return [_look(path) for path in sorted((*(self.folder / "archives").glob("*.deb"), *lying), key=lambda path: path.name)]

    def _call(self, *words: str) -> str:
        architecture = "arm64" if self.base.platform.startswith("linux/arm64") else "amd64"
        folder = self.folder
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "etc/apt/sources.list.d",
            "Dir::Etc::preferencesparts": folder / "etc/apt/preferences.d",
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "dpkg/status",
            "Dir::Cache::archives": folder / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Log": folder / "log",
            "Debug::NoLocking": "true",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(["apt-get", "-qq", *options, *words], capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            raise LadingError(_apt_failed(words, done.stderr))
        return done.stdout


def _release(facts: Mapping[str, str]) -> tuple[str, str]:
    return facts.get("ID", ""), facts.get("VERSION_CODENAME", "")


def _os_release() -> dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    return {name: value.strip("\"'") for name, _, value in (line.partition("=") for line in text.splitlines())}


def _look(path: Path) -> Deb:
    """A package's name and the scripts of it that do more than what a container does without."""
    with tempfile.TemporaryDirectory(prefix="lading-deb-") as folder:
        subprocess.run(["dpkg-deb", "--control", str(path), folder], capture_output=True, check=True)
        control = Path(folder, "control").read_text(encoding="utf-8")
        scripts = tuple(
            name for name in ("preinst", "postinst") if (Path(folder) / name).is_file() and not _is_harmless(Path(folder) / name)
        )
    fields = dict(line.partition(": ")[::2] for line in control.splitlines() if line[:1] not in ("", " "))
    return Deb(fields["Package"], fields["Version"], path, scripts)


def _is_harmless(script: Path) -> bool:
    lines = script.read_text(encoding="utf-8", errors="replace").splitlines()
    return all(not line.strip() or _HARMLESS.fullmatch(line) for line in lines)


def _by_extracting(debs: Sequence[Deb], base: Base, store: Store, compression: Compression, title: str, key: str) -> Layer:
    merged = tuple(name for name in _MERGED if name in base.links)
    with store.aside() as (path, stream), LayerWriter(stream, compression) as writer:
        _write_debs(writer, debs, merged)
        written = writer.finish()
        stream.flush()
        store.adopt(path, written.digest)
    return store.remember(Kind.SYSTEM, title, key, written, compression)


def _write_debs(writer: LayerWriter, debs: Sequence[Deb], merged: Sequence[str]) -> None:
    """The files of all packages, and for each a record that scanners read (``status.d``, as in distroless images)."""
    folders: set[str] = set()
    for deb in sorted(debs, key=lambda one: one.name):
        with ExitStack() as stack:
            process = stack.enter_context(subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb.path)], stdout=subprocess.PIPE))
            archive = stack.enter_context(tarfile.open(fileobj=process.stdout, mode="r|"))
            for entry in archive:
                _write_entry(writer, archive, entry, merged, folders)
        status = subprocess.run(["dpkg-deb", "--field", str(deb.path)], capture_output=True, check=True).stdout
        content = status.rstrip() + b"\nStatus: install ok installed\n"
        writer.file(Entry(path=f"var/lib/dpkg/status.d/{deb.name}", size=len(content)), content)


def _write_entry(writer: LayerWriter, archive: tarfile.TarFile, entry: tarfile.TarInfo, merged: Sequence[str], folders: set[str]) -> None:
    name = _moved(entry.name.removeprefix("./").strip("/"), merged)
    if not name or (name.startswith(("usr/share/doc/", "usr/share/man/", "usr/share/lintian/")) and not name.endswith("/copyright")):
        return
    if entry.isdir():
        if name in folders or name in ("usr", "etc", "var", "usr/bin", "usr/lib", "usr/share", "usr/sbin"):
            return  # the base's own stay as they are
        folders.add(name)
    entry.mtime, entry.uname, entry.gname = 0, "", ""
    if entry.islnk():
        entry.linkname = _moved(entry.linkname.removeprefix("./").strip("/"), merged)
    copy_entry(writer, archive, entry, name)


def _moved(name: str, merged: Iterable[str]) -> str:
    """``/lib/…`` is ``/usr/lib/…`` on a system with one ``/usr``: the link must not become a folder."""
    top = name.partition("/")[0]
    return f"usr/{name}" if top in merged else name


def _by_running(base: Base, recipe: Recipe, needing: Sequence[str], title: str, store: Store, reporter: Reporter) -> tuple[Layer, str]:
    from lading.images.steps import apt_layer  # noqa: PLC0415 -- only where something must run

    layer = apt_layer(base, title, recipe, store, reporter)
    more = f" and {len(needing) - 3} more" if len(needing) > 3 else ""
    why = (
        f"{', '.join(needing[:3])}{more} have scripts that must run"
        if needing
        else "apt is not on this machine, or the base has no record of its packages"
    )
    return layer, f"{why}, so apt ran in a build container"


def _apt_failed(words: Sequence[str], detail: str) -> Problem:
    lines = [line for line in detail.splitlines() if line.startswith(("E:", "W:"))]
    return Problem(
        rule="system-packages-failed",
        what=f"apt could not {'read its sources' if words[0] == 'update' else 'find or fetch the system packages'}.",
        origin=Origin("system packages"),
        why=" ".join(lines[:3]) or None,
        instead="Check the names (`apt-cache search`), or name a base image that has the packages: --base IMAGE.",
        code=ExitCode.BUILD,
        detail="\n".join(lines) or None,
    )
