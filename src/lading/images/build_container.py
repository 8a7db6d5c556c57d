"""Commands run in a container on an image, by buildah, podman or docker: what comes out is a layout of the image with one layer more.

Each use has a storage of its own, as far as the engine allows, and leaves nothing: no image, no mount, no file.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from lading.images.archive import Archive
from lading.images.engines import Engine, network_variables
from lading.images.folders import file_digest
from lading.images.layout import Layout
from lading.images.media import LAYER, MANIFEST, Descriptor, Image, canonical, digest_of
from lading.images.recipe import Recipe
from lading.images.secrets import secrets_in
from lading.images.step_files import HOME
from lading.model.events import Event, Phase, Reporter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import Redactor
from lading.resolvers.process import run

STEP = "Running build steps"
ENGINES = ("buildah", "podman", "docker")
"""What makes a layer by running something, the first that is there."""
_CERTIFICATES = "/run/lading/ca.pem"
_NAMING_CERTIFICATES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")
_LONGEST = 50
_LAST_WORDS_SECONDS = 1
"""buildah passes on what a command prints, and drops what it has not passed on when the command has ended: of one that failed, why."""
_NO_OVERLAY = re.compile(
    r"(?:mount\w*|creating|invalid)\b.*\boverlay|overlay\b.*\b(?:mount|not supported)|invalid (?:mount|volume) option", re.IGNORECASE
)
"""What buildah and podman say where they cannot lay a folder over another, before anything runs."""


@contextmanager
def build_container(engine: Engine, recipe: Recipe, reporter: Reporter, origin: Origin) -> Iterator[BuildContainer]:
    """A container to run something in; what it made is gone with the block."""
    with ExitStack() as stack:
        # What an engine that was killed has left there must not hide why it was.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-steps-", ignore_cleanup_errors=True)))
        stack.enter_context(_unmounted(folder))
        yield BuildContainer(engine, folder, stack.enter_context(_short_folder(folder)), recipe, reporter, origin)


@contextmanager
def _short_folder(folder: Path) -> Iterator[Path]:
    """A folder below another, or elsewhere if that would have a long name: podman takes no more than 50 characters for what it has running."""
    if len(str(folder / "run")) <= _LONGEST:
        yield folder / "run"
        return
    with tempfile.TemporaryDirectory(prefix="lading-", dir="/tmp", ignore_cleanup_errors=True) as short, _unmounted(Path(short)):
        yield Path(short)


@contextmanager
def _unmounted(folder: Path) -> Iterator[None]:
    """Take away what is still mounted below a folder: an engine that ends in the middle of a step leaves its storage mounted."""
    try:
        yield
    finally:
        below = [place for place, _ in _mounts() if place.startswith(f"{folder.resolve()}/")]
        for place in reversed(below):
            with suppress(OSError):
                subprocess.run(["umount", "-l", place], check=False, capture_output=True)


def _mounts() -> list[tuple[str, str]]:
    """Where something is mounted, and of which file system."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    parts = [line.split(" ") for line in lines]
    return [(place.replace("\\040", " "), kind) for _, place, kind, *_ in parts]


def _file_system(folder: str) -> str:
    """What kind of file system a folder is on: of what is mounted deepest, and last, above it."""
    above = [
        (len(place), number, kind) for number, (place, kind) in enumerate(_mounts()) if f"{folder}/".startswith(f"{place.rstrip('/')}/")
    ]
    return max(above, default=(0, 0, ""))[2]


class BuildContainer:
    """One use of an engine, with a storage of its own that is gone afterwards.

    Engines make an image's name of a layout's path, and not every path can be one: they run in the folder, and get relative ones.
    """

    def __init__(self, engine: Engine, folder: Path, running: Path, recipe: Recipe, reporter: Reporter, origin: Origin) -> None:
        self.engine, self.folder, self.running = engine, folder, running
        self.recipe, self.reporter, self.origin = recipe, reporter, origin
        self.out = folder / "out"
        self.written = folder / "written"
        """What a script wrote beside the project's files, where the engine can lay a folder over theirs."""
        # The daemon of docker is everybody's: two builds must not take each other's images.
        name = f"lading-steps-{uuid.uuid4().hex}"
        self.under, self.done = f"{name}:under", f"{name}:done"
        self.mounts: list[str] = []
        values = [secret for _, secret in secrets_in(recipe.steps.secrets)]
        self.redact = Redactor((*values, *(secret for one in recipe.environments for secret in one.plan.secrets())))

    def build(self, under: Image, commands: Sequence[str], *, project: bool) -> Descriptor | None:
        """Run the commands on the image, each in a shell of its own as in Cog; what points to the layer that they made.

        None if they changed nothing: some builders make no layer then.
        """
        Layout(self.folder / "under").publish((under,), "latest")
        script = " && ".join(f"/bin/sh -c {shlex.quote(command)}" for command in commands)
        if self.engine.name == "buildah":
            self._buildah(script, project=project)
        else:
            self._dockerfile(under, script, project=project)
        (entry,) = Layout(self.out).entries()
        manifest = json.loads(Layout(self.out).read(entry["digest"]))
        return Descriptor.from_json(manifest["layers"][-1]) if len(manifest["layers"]) > len(under.layers) else None

    def _storage(self) -> list[str]:
        storage = ["--root", str(self.folder / "root"), "--runroot", str(self.running)]
        chosen = {"STORAGE_DRIVER", "CONTAINERS_STORAGE_CONF"} & set(os.environ)
        # Inside a container folders of layers cannot be laid over another: they are copied then.
        return storage if chosen or _file_system(str(self.folder.resolve())) != "overlay" else [*storage, "--storage-driver", "vfs"]

    def _buildah(self, script: str, *, project: bool) -> None:
        storage = self._storage()
        container = "lading-steps"
        self._call(*storage, "from", "--name", container, "--pull-never", "oci:under:latest")
        try:
            words = [
                "run",
                "--isolation",
                "chroot",
                "--network",
                "host",
                "--user",
                "0:0",
                *self._variables(),
                *self._volumes(),
            ]
            words += ["--workingdir", "/src"] if project else ["--workingdir", "/"]
            script = f"{{ {script}; }} || {{ code=$?; sleep {_LAST_WORDS_SECONDS} 2>/dev/null; exit $code; }}"
            self._with_project([*storage, *words], [container, "--", "/bin/sh", "-c", script], project=project)
            self._call(*storage, "commit", "-q", "--timestamp", "0", "--format", "oci", container, "oci:out:latest")
        finally:
            self.engine.run(*storage, "rm", container)
            self.engine.run(*storage, "rmi", "--all", "--force")

    def _dockerfile(self, under: Image, script: str, *, project: bool) -> None:
        """Podman and docker the same steps from a Dockerfile."""
        context = self.recipe.root if project else self.folder / "empty"
        context.mkdir(exist_ok=True)
        mounts = ["--mount=type=bind,source=.,target=/src"] if project and self.engine.name == "docker" else []
        mounts += [f"--mount=type=secret,id={name},target={target}" for name, _, target in self._secret_targets()]
        self.mounts += ["src"] if project and self.engine.name == "docker" else []
        self.mounts += [target.strip("/") for _, _, target in self._secret_targets()]
        variables = "".join(f"export {name}={shlex.quote(value)}; " for name, value in self._environment().items())
        # As JSON, in which a command of several lines is one line, and no builder reads anything else into it.
        words = json.dumps(["/bin/sh", "-c", variables + script])
        text = f"FROM {self.under}\nUSER 0:0\nWORKDIR {'/src' if project else '/'}\nRUN {' '.join(mounts)} {words}\n"
        file = self.folder / "Dockerfile"
        file.write_text(text, encoding="utf-8")
        secrets = [word for name, path, _ in self._secret_targets() for word in ("--secret", f"id={name},src={path}")]
        if self.engine.name == "podman":
            self._podman(secrets, file, context, project=project)
        else:
            self._docker(under, secrets, file, context)

    def _podman(self, secrets: Sequence[str], file: Path, context: Path, *, project: bool) -> None:
        storage = self._storage()
        try:
            self._call(*storage, "pull", "-q", "oci:under:latest")
            pulled = self.engine.run(*storage, "images", "-q").stdout.split()[0]
            self._call(*storage, "tag", pulled, self.under)
            flags = ["--isolation", "chroot", "--network", "host", "--layers=false", "--format", "oci", "--timestamp", "0"]
            words = [*secrets, "-t", self.done, "-f", str(file), str(context)]
            self._with_project([*storage, "build", *flags], words, project=project)
            self._call(*storage, "push", "-q", f"localhost/{self.done}", "oci:out:latest")
        finally:
            self.engine.run(*storage, "rmi", "--all", "--force")

    def _docker(self, under: Image, secrets: Sequence[str], file: Path, context: Path) -> None:
        """BuildKit through docker: the image goes in and comes out as an archive, which every docker reads and writes."""
        loaded, saved = self.folder / "under.tar", self.folder / "saved.tar"
        Archive(loaded).publish((under,), self.under)
        try:
            self._call("image", "load", "-q", "-i", str(loaded))
            self._call("build", "--no-cache", *secrets, "--network", "host", "-t", self.done, "-f", str(file), str(context))
            self._call("image", "save", "-o", str(saved), self.done)
        finally:
            self.engine.run("image", "rm", "-f", self.done, self.under)
        _as_layout(saved, self.out)

    def _environment(self) -> dict[str, str]:
        variables = {**network_variables(self.recipe.environ), "DEBIAN_FRONTEND": "noninteractive", "PIP_PYTHON": "/opt/venv/bin/python"}
        certificates = dict.fromkeys(_NAMING_CERTIFICATES, _CERTIFICATES) if self._certificates() else {}
        return {**variables, **certificates, "HOME": f"/{HOME}"}

    def _variables(self) -> list[str]:
        return [word for name, value in sorted(self._environment().items()) for word in ("--env", f"{name}={value}")]

    def _certificates(self) -> str | None:
        """This machine's own certificates, where it is told of some."""
        path = self.recipe.environ.get("SSL_CERT_FILE")
        return path if path and Path(path).is_file() else None

    def _with_project(self, before: Sequence[str], after: Sequence[str], *, project: bool) -> None:
        """Call the engine with the project's files at ``/src``, where a script may write: what it writes goes to a folder over them.

        They are only to be read where the system does not lay one folder over another, as in some containers.
        """
        if not project:
            self._call(*before, *after)
            return
        self.mounts.append("src")
        work = self.folder / "work"
        for folder in (self.written, work):
            folder.mkdir()
        over = f"{self.recipe.root}:/src:O,upperdir={self.written},workdir={work}"
        try:
            self._call(*before, "-v", over, *after)
        except LadingError as error:
            if not any(_NO_OVERLAY.search(problem.detail or "") for problem in error.problems):
                raise
            self._call(*before, "-v", f"{self.recipe.root}:/src:ro", *after)

    def _volumes(self) -> list[str]:
        pairs = [(str(path), target) for _, path, target in self._secret_targets()]
        self.mounts += [target.strip("/") for _, target in pairs]
        return [word for source, target in pairs for word in ("-v", f"{source}:{target}:ro")]

    def _secret_targets(self) -> list[tuple[str, Path, str]]:
        """Every secret of this run at the place that a command names, else where Docker puts it (``/run/secrets/ID``); certificates likewise."""
        named = {name: target for _, mounts in self.recipe.steps.after for name, target in mounts}
        given = [(name, path, named.get(name, f"/run/secrets/{name}")) for name, path in sorted(self.recipe.steps.secrets.items())]
        certificates = self._certificates()
        return [*given, *([("lading-certificates", Path(certificates), _CERTIFICATES)] if certificates else [])]

    def _call(self, *words: str) -> None:
        def heard(line: str) -> None:
            self.reporter(Event(step=STEP, phase=Phase.OUTPUT, message=self.redact(line.rstrip())))

        # Docker's own builder sees the images of its daemon; another one that the user chose for himself may not.
        env = {name: value for name, value in os.environ.items() if name != "BUILDX_BUILDER"}
        env |= {"BUILDAH_ISOLATION": "chroot", "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain", "TMPDIR": str(self.folder / "tmp")}
        (self.folder / "tmp").mkdir(exist_ok=True)
        both = ["/bin/sh", "-c", 'exec "$@" >&2', "sh", self.engine.path, *words]
        finished = run(both, env=env, cwd=self.folder, heard=heard)
        if finished.returncode:
            raise LadingError(_failed(self.origin, self.redact(finished.stderr)[-4000:]))


def _as_layout(saved: Path, folder: Path) -> None:
    """What ``docker image save`` wrote, as a layout; its layers are compressed or not, as that docker has it."""
    layout = Layout(folder)
    (folder / "blobs" / "sha256").mkdir(parents=True)
    with tarfile.open(saved) as archive:
        (record,) = json.loads(_member(archive, "manifest.json").read())
        layers = []
        for name in record["Layers"]:
            aside = folder / "aside"
            with aside.open("wb") as target:
                shutil.copyfileobj(_member(archive, name), target)
            digest = f"sha256:{file_digest(str(aside))}"
            size = aside.stat().st_size
            aside.replace(layout.path(digest))
            layers.append(Descriptor(media_type=LAYER, digest=digest, size=size).as_json())
    manifest = canonical({"schemaVersion": 2, "layers": layers})
    layout.path(digest_of(manifest)).write_bytes(manifest)
    index = {"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}]}
    (folder / "index.json").write_bytes(canonical(index))


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of an archive; layers may be links to each other."""
    content = archive.extractfile(name)
    assert content is not None
    return content


def _failed(origin: Origin, detail: str) -> Problem:
    read_only = (
        " The project's files at /src are only to be read here: write elsewhere, as to /opt, or install buildah, with which a script may write there."
        if "Read-only file system" in detail
        else ""
    )
    return Problem(
        rule="build-step-failed",
        what="A build step failed.",
        origin=origin,
        why="It ran in a build container, on the image as it is up to there.",
        instead=f"Correct the command; its output is below.{read_only}",
        code=ExitCode.BUILD,
        detail=detail.strip() or None,
    )
