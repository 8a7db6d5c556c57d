"""Packages that come as source: built into a wheel once, with uv, and kept by what they were built from."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lading.environments.access import Access, make_access
from lading.environments.sources import content_digest
from lading.images.download import Downloader
from lading.images.packages import Package, fits
from lading.images.splice import Wheel
from lading.images.store import Store, touch
from lading.model.events import Event, Phase, Reporter
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.target import Interpreter, Target
from lading.resolvers.process import run

STEP = "Building wheels"
EPOCH = "315532800"
"""1980-01-01, the first day that a zip file can tell: for build backends that write times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds wheels for one target with the interpreter of its minor version."""

    store: Store
    root: Path
    plan: Plan
    target: Target
    interpreter: Interpreter
    downloader: Downloader
    reporter: Reporter
    offline: bool = False

    def build(self, package: Package) -> Wheel:
        """The package's wheel: built before, or now.

        Raises:
            LadingError: if the source cannot be had, the build fails, or its wheel does not fit the target.
        """
        key = self._key(package)
        known = self.store.note("built", key)
        if known is not None:
            path = self.store.root / "wheels" / known["sha256"] / known["filename"]
            if path.is_file():
                touch(path)
                return self._wheel(package, path, known["sha256"])
        self.reporter(Event(step=STEP, phase=Phase.STARTED, message=package.name))
        try:
            path, sha256 = self._made(package)
        except BaseException:
            self.reporter(Event(step=STEP, phase=Phase.FAILED, message=package.name))
            raise
        self.reporter(Event(step=STEP, phase=Phase.FINISHED, message=package.name))
        self.store.keep_note("built", key, {"sha256": sha256, "filename": path.name})
        return self._wheel(package, path, sha256)

    def _wheel(self, package: Package, path: Path, sha256: str) -> Wheel:
        if not fits(path.name, self.target):
            raise LadingError(_other_platform(package, path.name, self.target, self.plan))
        version = path.name.split("-")[1]
        return Wheel(path=path, sha256=sha256, name=package.name, version=version, direct_url=package.direct_url)

    def _key(self, package: Package) -> str:
        source = package.sha256 or str(package.file.get("commit-id") or "")
        if package.kind == "directory":
            source = content_digest(str(self.root / package.place), metadata_only=False)
        place = package.place if not package.sha256 else ""
        settings = [f"{name}={value}" for name, value in sorted(package.settings.items())]
        machine = [os.uname().machine, self.interpreter.implementation, self.interpreter.minor]
        return fold_hashes([package.kind, source, place, str(package.file.get("subdirectory") or ""), *settings, *machine])

    def _made(self, package: Package) -> tuple[Path, str]:
        access = make_access(self.plan, self.root)
        with tempfile.TemporaryDirectory(prefix="lading-wheel-") as folder:
            work = Path(folder)
            source = self._source(package, work, access)
            if package.file.get("subdirectory"):
                source /= str(package.file["subdirectory"])
            out = work / "out"
            self._run_uv(package, source, out, access)
            (built,) = out.glob("*.whl")
            sha256 = hashlib.sha256(built.read_bytes()).hexdigest()
            place = self.store.root / "wheels" / sha256 / built.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with self.store.aside() as (aside, stream):
                stream.write(built.read_bytes())
                stream.flush()
                aside.chmod(0o644)
                aside.replace(place)
        return place, sha256

    def _source(self, package: Package, work: Path, access: Access) -> Path:
        if package.kind == "directory":
            return self.root / package.place
        if package.kind == "vcs":
            return _clone(package, work / "source", access, self.plan)
        return self.downloader.fetch(package)

    def _run_uv(self, package: Package, source: Path, out: Path, access: Access) -> None:
        import uv  # noqa: PLC0415 -- only where something has to be built

        config = out.parent / "uv.toml"
        config.write_text("", encoding="utf-8")
        settings = [word for name, value in package.settings.items() for word in ("--config-setting", f"{name}={value}")]
        words = ["build", "--wheel", "--out-dir", str(out), "--python", self.interpreter.path, "--no-python-downloads", "--color", "never"]
        words += ["--config-file", str(config), *settings, *(["--offline"] if self.offline else []), str(source)]
        env = {**access.env, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONHASHSEED": "0"}

        def heard(line: str) -> None:
            self.reporter(Event(step=STEP, phase=Phase.OUTPUT, message=access.redact(line.rstrip())))

        finished = run([uv.find_uv_bin(), *words], env=env, cwd=out.parent, heard=heard)
        if finished.returncode:
            raise LadingError(_failed(package, access.redact(finished.stderr), self.plan))


def _clone(package: Package, folder: Path, access: Access, plan: Plan) -> Path:
    """A repository at the locked commit; the credentials go to git as headers by variable."""
    commit = str(package.file.get("commit-id") or package.file.get("requested-revision") or "HEAD")
    folder.mkdir()
    env = {**os.environ, **access.env, "GIT_TERMINAL_PROMPT": "0"}
    steps = (
        ["git", "init", "-q"],
        ["git", "remote", "add", "origin", package.place.removeprefix("git+")],
        ["git", "fetch", "-q", "--depth", "1", "origin", commit],
        ["git", "checkout", "-q", "FETCH_HEAD"],
        ["git", "submodule", "-q", "update", "--init", "--recursive", "--depth", "1"],
    )
    for step in steps:
        done = _git(step, folder, env)
        if done.returncode and step[1] == "fetch":  # a server that gives out no single commits
            done = _git(["git", "fetch", "-q", "origin"], folder, env)
            done = done if done.returncode else _git(["git", "update-ref", "FETCH_HEAD", commit], folder, env)
        if done.returncode:
            raise LadingError(_failed(package, access.redact(done.stderr), plan))
    return folder


def _git(words: list[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, cwd=folder, env=dict(env), capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", f"git cannot be started: {error.strerror}")


def _failed(package: Package, detail: str, plan: Plan) -> Problem:
    return Problem(
        rule="build-failed",
        what=f"{package.name} has to be built from source, and its build failed.",
        origin=Origin(plan.lock_path),
        why="The lock has no wheel of it for this target.",
        instead="Ask for a version that has a wheel, another Python, or install what the build's output below asks for.",
        code=ExitCode.BUILD,
        detail=detail.strip() or None,
    )


def _other_platform(package: Package, filename: str, target: Target, plan: Plan) -> Problem:
    return Problem(
        rule="source-for-another-platform",
        what=f"{package.name} has to be built from source, which gives a wheel for this machine: {filename}.",
        origin=Origin(plan.lock_path),
        why=f"The image is for {target.platform}, and nothing is run for another platform here.",
        instead="Build the image on such a machine, or ask for a version of the package that has a wheel for it.",
        code=ExitCode.BUILD,
    )
