"""Commands of a project that must run in a container while its image is built: Cog's ``run:``, Cortex's ``dependencies.sh``.

One engine makes just that layer: buildah, else podman, else docker. Everything below and above is made without it.
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
from lading.images.base import Base
from lading.images.engines import Engine, find_engine, network_variables
from lading.images.folders import Found, digest_found, file_digest
from lading.images.layers import LayerWriter
from lading.images.layout import Layout
from lading.images.manifest import Settings, make_config, make_manifest
from lading.images.media import LAYER, MANIFEST, Descriptor, Image, Kind, Layer, canonical, digest_of
from lading.images.recipe import Recipe
from lading.images.secrets import secrets_in
from lading.images.step_files import HOME, Rewriting, StepFiles
from lading.images.store import Store
from lading.model.events import Event, Phase, Reporter
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.secrets import Redactor, redact_urls
from lading.resolvers.process import run

STEP = "Running build steps"
_FORMAT = "steps, 3"
"""What becomes of the files that a step wrote; another one makes every such layer anew."""
ENGINES = ("buildah", "podman", "docker")
"""What makes a layer by running something, the first that is there."""
_CERTIFICATES = "/run/lading/ca.pem"
_NAMING_CERTIFICATES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")
_LONGEST = 50
_TEXT = 256 * 1024
"""Smaller files (bytes) that a script names are looked into for further names."""
_BETWEEN_WORDS = re.compile(r"[\s\"'`=;:,(){}<>|&]+")
_TAKES_ALL = re.compile(r"\.{1,2}/?|/src/?|\$PWD/?|(?:\./|/src/)?[^/$]*[*?][^/]*")


@dataclass(frozen=True, slots=True)
class Step:
    """The layer that a step made, and what it wrote."""

    layer: Layer
    files: StepFiles


def script_layer(
    script: str, files: Sequence[Found], base: Base, below: Sequence[Layer], recipe: Recipe, store: Store, reporter: Reporter
) -> Step:
    """The layer of one of the project's scripts, which runs before the packages are there, beside the project's files.

    It is made again when a file changes that the script may read, of those that it names.

    Raises:
        LadingError: if no engine is there, or the script fails.
    """
    under = _image((*base.layers, *below), base, recipe, store)
    key = [str(file_digest(str(recipe.root / script))), *digest_found(read_by(recipe.root / script, files))]
    return _run_layer(Kind.SCRIPT, script, under, [command_of(script)], key, recipe, store, reporter, origin=Origin(script), project=True)


def command_of(script: str) -> str:
    """What runs one of the project's scripts, in the folder that its path is relative to."""
    return f"{'python' if script.endswith('.py') else 'bash -e'} {shlex.quote(script)}"


def read_by(script: Path, files: Sequence[Found]) -> list[Found]:
    """The files that a script may read: those whose name, or a folder of theirs, stands in it or in another that it names.

    All of them where it names none but takes what is there (``.``, ``*.whl``), so that none is missed that way.
    """
    rest, waiting = list(files), [str(script)]
    found: list[Found] = []
    while waiting:
        text = Path(waiting.pop()).read_text(encoding="utf-8", errors="replace")
        words = set(_BETWEEN_WORDS.split("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))))
        if any(_TAKES_ALL.fullmatch(word) for word in words):
            return list(files)
        names = {part for word in words for part in word.split("/")}
        named = [one for one in rest if not names.isdisjoint({*one.path.split("/")[1:], Path(one.path).stem})]
        waiting += [one.source for one in named if one.size < _TEXT and not one.folder and not one.target]
        found += named
        paths = {one.path for one in named}
        rest = [one for one in rest if one.path not in paths]
    return sorted(found, key=lambda one: one.path)


def command_layer(under: Image, recipe: Recipe, store: Store, reporter: Reporter) -> Step:
    """The layer of commands that run after the packages are there; the project's files are not, as in Cog.

    Raises:
        LadingError: if no engine is there, or a command fails.
    """
    commands = [command for command, _ in recipe.steps.after]
    title = redact_urls("; ".join(commands))  # it stands in the image's history
    shown = title if len(title) <= 60 else f"{title[:59]}…"
    return _run_layer(Kind.STEPS, shown, under, commands, [], recipe, store, reporter, origin=Origin("build.run"), project=False)


def apt_layer(base: Base, title: str, recipe: Recipe, store: Store, reporter: Reporter) -> Layer:
    """The system packages as apt installs them.

    Raises:
        LadingError: if no engine is there, or apt fails.
    """
    names = " ".join(map(shlex.quote, sorted(recipe.system_packages)))
    commands = ["apt-get -qq update", f"apt-get -qq install -y --no-install-recommends {names} </dev/null"]
    under = _image(base.layers, base, recipe, store)
    step = _run_layer(Kind.SYSTEM, title, under, commands, [], recipe, store, reporter, origin=Origin("system packages"), project=False)
    return step.layer


def _image(layers: Sequence[Layer], base: Base, recipe: Recipe, store: Store) -> Image:
    inherited = dict(base.config.get("config") or {})
    settings = Settings(entrypoint=tuple(inherited.get("Entrypoint") or ()), command=tuple(inherited.get("Cmd") or ()))
    config = make_config(base.config, layers, settings, {}, recipe.platform)
    manifest = make_manifest(config, layers, {})
    return Image(manifest=manifest, config=config, layers=tuple(layers), blobs=store, platform=recipe.platform)


def _run_layer(
    kind: Kind,
    title: str,
    under: Image,
    commands: Sequence[str],
    further: Sequence[str],
    recipe: Recipe,
    store: Store,
    reporter: Reporter,
    *,
    origin: Origin,
    project: bool,
) -> Step:
    """Kept by what lies below it and the commands: such a layer differs a little each time it is made, so it is made once."""
    diff_ids = [layer.diff_id for layer in under.layers]
    key = fold_hashes([_FORMAT, *diff_ids, *commands, *further, str(recipe.compression)])
    known, note = store.known(kind, title, key), store.note("steps", key)
    if known is not None and note is not None and not recipe.steps.again:
        return Step(known, StepFiles.from_json(note))
    engine = find_engine(ENGINES)
    if engine is None:
        raise LadingError(_no_engine(commands, origin))
    reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{title} ({engine.name})"))
    # What an engine that was killed has left there must not hide why it was.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-steps-", ignore_cleanup_errors=True)))
        stack.enter_context(_unmounted(folder))
        session = _Session(engine, folder, stack.enter_context(_short_folder(folder)), recipe, reporter, origin)
        top = session.build(under, commands, project=project)
        with store.aside() as (path, stream), LayerWriter(stream, recipe.compression) as writer:
            rewriting = Rewriting(writer, session.mounts, packages=kind is Kind.SYSTEM)
            files = rewriting.run(Layout(session.out), top) if top is not None else StepFiles()
            written = writer.finish()
            stream.flush()
            store.adopt(path, written.digest)
    store.keep_note("steps", key, files.as_json())
    reporter(Event(step=STEP, phase=Phase.FINISHED, message=title))
    return Step(store.remember(kind, title, key, written, recipe.compression), files)


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
        for place in reversed(_mounts_below(str(folder.resolve()))):
            with suppress(OSError):
                subprocess.run(["umount", "-l", place], check=False, capture_output=True)


def _mounts_below(folder: str) -> list[str]:
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    places = [line.split(" ")[1].replace("\\040", " ") for line in lines]
    return [place for place in places if place.startswith(f"{folder}/")]


class _Session:
    """One use of an engine, with a storage of its own that is gone afterwards.

    Engines make an image's name of a layout's path, and not every path can be one: they run in the folder, and get relative ones.
    """

    def __init__(self, engine: Engine, folder: Path, running: Path, recipe: Recipe, reporter: Reporter, origin: Origin) -> None:
        self.engine, self.folder, self.running = engine, folder, running
        self.recipe, self.reporter, self.origin = recipe, reporter, origin
        self.out = folder / "out"
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
        return ["--root", str(self.folder / "root"), "--runroot", str(self.running)]

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
                *self._volumes(project=project),
            ]
            words += ["--workingdir", "/src"] if project else ["--workingdir", "/"]
            self._call(*storage, *words, container, "--", "/bin/sh", "-c", script)
            self._call(*storage, "commit", "-q", "--timestamp", "0", "--format", "oci", container, "oci:out:latest")
        finally:
            self.engine.run(*storage, "rm", container)
            self.engine.run(*storage, "rmi", "--all", "--force")

    def _dockerfile(self, under: Image, script: str, *, project: bool) -> None:
        """Podman and docker the same steps from a Dockerfile."""
        context = self.recipe.root if project else self.folder / "empty"
        context.mkdir(exist_ok=True)
        mounts = ["--mount=type=bind,source=.,target=/src"] if project else []
        mounts += [f"--mount=type=secret,id={name},target={target}" for name, _, target in self._secret_targets()]
        self.mounts += ["src"] if project else []
        self.mounts += [target.strip("/") for _, _, target in self._secret_targets()]
        variables = "".join(f"export {name}={shlex.quote(value)}; " for name, value in self._environment().items())
        # As JSON, in which a command of several lines is one line, and no builder reads anything else into it.
        words = json.dumps(["/bin/sh", "-c", variables + script])
        text = f"FROM {self.under}\nUSER 0:0\nWORKDIR {'/src' if project else '/'}\nRUN {' '.join(mounts)} {words}\n"
        file = self.folder / "Dockerfile"
        file.write_text(text, encoding="utf-8")
        secrets = [word for name, path, _ in self._secret_targets() for word in ("--secret", f"id={name},src={path}")]
        if self.engine.name == "podman":
            self._podman(secrets, file, context)
        else:
            self._docker(under, secrets, file, context)

    def _podman(self, secrets: Sequence[str], file: Path, context: Path) -> None:
        storage = self._storage()
        try:
            self._call(*storage, "pull", "-q", "oci:under:latest")
            pulled = self.engine.run(*storage, "images", "-q").stdout.split()[0]
            self._call(*storage, "tag", pulled, self.under)
            flags = ["--isolation", "chroot", "--network", "host", "--layers=false", "--format", "oci", "--timestamp", "0"]
            self._call(*storage, "build", *flags, *secrets, "-t", self.done, "-f", str(file), str(context))
            self._call(*storage, "push", "-q", f"localhost/{self.done}", "oci:out:latest")
        finally:
            self.engine.run(*storage, "rmi", "--all", "--force")

    def _docker(self, under: Image, secrets: Sequence[str], file: Path, context: Path) -> None:
        """BuildKit through docker: the image goes in and comes out as an archive, which every docker reads and writes."""
        loaded, saved = self.folder / "under.tar", self.folder / "saved.tar"
        Archive(loaded).publish((under,), self.under)
        try:
            self._call("image", "load", "-q", "-i", str(loaded))
            self._call("build", *secrets, "--network", "host", "-t", self.done, "-f", str(file), str(context))
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

    def _volumes(self, *, project: bool) -> list[str]:
        pairs = [(str(self.recipe.root), "/src")] if project else []
        pairs += [(str(path), target) for _, path, target in self._secret_targets()]
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


def _no_engine(commands: Sequence[str], origin: Origin) -> Problem:
    first = redact_urls(commands[0])
    first = first if len(first) <= 60 else f"{first[:59]}…"
    return Problem(
        rule="build-engine-missing",
        what=f"`{first}` has to run in a build container, and there is no buildah, podman or docker on this machine.",
        origin=origin,
        why="Commands are the one part of an image that cannot be made without running it.",
        instead="Install one (`apt-get install buildah`), or declare what the commands install: `lading migrate` writes what it understands.",
        code=ExitCode.BUILD,
    )


def _failed(origin: Origin, detail: str) -> Problem:
    read_only = (
        " The project's files at /src are there to be read: write elsewhere, as to /opt." if "Read-only file system" in detail else ""
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
