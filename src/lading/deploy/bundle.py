"""A project as a bundle: everything that a node needs to serve it, without an engine and without a container.

A bundle is a value: what is served (`Bundle.service`, with places that mean nothing anywhere), which lock makes each environment, and
the digest of each file. `Bundle.digest` names all of it, so a node that has a digest has the project. `pack` writes it as a tar archive,
the same bytes for the same bundle; `materialise` makes a running node's `ServiceSpec` of it, installing what was locked and resolving
nothing. Nodes need Lading and a Python of the model's version; credentials of indexes come from the node's own variables.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import msgspec

from lading import pipeline
from lading.environments.home import require_writable
from lading.images.folders import Found, digest_found, walk
from lading.images.project import ROOT, find_files
from lading.model.decisions import Decision
from lading.model.environment import Environment
from lading.model.events import Reporter, silent
from lading.model.files import content_hash, fold_hashes
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.project import ProjectKind
from lading.model.secrets import Secret
from lading.model.service import ServedApi, ServiceSpec

MANIFEST = "bundle.json"
"""The manifest's place in an archive; the project lies beside it, in ``src``."""
FOLDER = "bundles"
"""Where unpacked ones lie in Lading's store, each by its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A project that can be placed anywhere.

    ``service`` is what is served, without interpreters, folders or variables of any machine. ``environments`` are the SHA-256 of the
    lock of each variant (the empty name where there is one alone), ``variants`` the variant by API. ``source`` is the digest of the
    project's files. ``file``, ``python``, ``accelerator`` and ``dependencies`` are the options that it was read with
    (`lading.pipeline.Options`). ``wanted`` names variables that the model needs and that are no part of the bundle, being secret.
    """

    name: str
    service: ServiceSpec
    environments: Mapping[str, str]
    variants: Mapping[str, str]
    source: str
    file: str | None = None
    python: str | None = None
    accelerator: str = "auto"
    dependencies: str | None = None
    wanted: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the bundle says, in hex."""
        return content_hash(self.as_json())

    def as_json(self) -> bytes:
        """The bundle as JSON text, the same for the same bundle."""
        return msgspec.json.encode(self, order="deterministic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A bundle with the files of this machine that it is packed from, and the values of `Bundle.wanted`."""

    bundle: Bundle
    files: tuple[Found, ...]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A bundle on a node: what the node serves, and the environments that it must hold on to meanwhile."""

    service: ServiceSpec
    environments: tuple[Environment, ...]


def from_json(content: bytes) -> Bundle:
    """The inverse of `Bundle.as_json`.

    Raises:
        LadingError: if it is no bundle.
    """
    try:
        return msgspec.json.decode(content, type=Bundle)
    except msgspec.MsgspecError as error:
        raise LadingError(_broken(str(error))) from error


def make_bundle(locked: tuple[pipeline.Locked, ...], project: pipeline.Project, options: pipeline.Options, name: str) -> Bundled:
    """The bundle of a locked project. Files that hold secrets stay out, and so do variables that come from ``.env``.

    Raises:
        LadingError: if a signature cannot be read.
        OSError: if a file cannot be read.
    """
    found = find_files(project.root, cortex=project.config.kind is ProjectKind.CORTEX)
    files = _with_locks(found.files, locked, project)
    service, secrets = pipeline.without_secrets(portable(project), project.config, project.files)
    bundle = Bundle(
        name=name,
        service=replace(service, title=name),
        environments={one.planned.plan.variant: content_hash(one.text.encode()) for one in locked},
        variants={api.name: one.planned.plan.variant for one in locked for api in one.planned.plan.apis},
        source=fold_hashes(digest_found(files)),
        file=options.file,
        python=options.python,
        accelerator=options.accelerator,
        dependencies=options.source,
        wanted=tuple(sorted(secrets)),
    )
    return Bundled(bundle=bundle, files=tuple(files), secrets=secrets, decisions=tuple(found.decisions))


def _with_locks(files: list[Found], locked: tuple[pipeline.Locked, ...], project: pipeline.Project) -> list[Found]:
    """The files and, whatever an ignore file says, the locks and the configuration: without them there is nothing to install."""
    there = {one.path for one in files}
    needed = [*(one.planned.plan.lock_path for one in locked), *([project.config.path] if project.config.path else [])]
    more = [
        Found(path=f"{ROOT}/{path}", source=str(project.root / path), size=(project.root / path).stat().st_size)
        for path in dict.fromkeys(needed)
        if f"{ROOT}/{path}" not in there
    ]
    return sorted([*files, *more], key=lambda one: one.path.encode())


def portable(project: pipeline.Project) -> ServiceSpec:
    """The service, with no interpreter, folder or variable of this machine."""
    nowhere = {api.name: Environment(path="", python="", key="") for api in project.config.apis}
    ready = pipeline.Ready(root=project.root, files=project.files, config=project.config, environments=nowhere, variants=())
    own = {api.name: dict(api.env) for api in project.config.apis}

    def moved(api: ServedApi) -> ServedApi:
        worker = replace(api.worker, python="", root=ROOT, env=own[api.name], unset=())
        # Documents are made anew where it is served: their titles are the folder's.
        return replace(api, worker=worker, openapi=None)

    spec = pipeline.describe_service(replace(ready, config=replace(project.config, train=None)))
    return replace(spec.each(moved), jobs_folder="", host="", port=0)


def pack(bundled: Bundled, target: IO[bytes]) -> None:
    """Write a bundle as an uncompressed tar archive: no times, no owners, the files in the order of their paths.

    Raises:
        LadingError: if a file has changed since the bundle was made.
    """
    manifest = bundled.bundle.as_json()
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_entry(MANIFEST, len(manifest)), io.BytesIO(manifest))
        for one in bundled.files:
            entry = _entry(one.path, one.size, executable=one.executable)
            if one.target:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, one.target, 0
                archive.addfile(entry)
            elif one.folder:
                entry.type, entry.mode, entry.size = tarfile.DIRTYPE, 0o755, 0
                archive.addfile(entry)
            else:
                with Path(one.source).open("rb") as stream:
                    try:
                        archive.addfile(entry, stream)
                    except OSError as error:
                        raise LadingError(_changed(one.path)) from error


def _entry(path: str, size: int, *, executable: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, 0o755 if executable else 0o644
    return entry


def unpack(archive: IO[bytes], environ: Mapping[str, str] | None = None) -> tuple[Bundle, Path]:
    """Unpack an archive into the store of this node, once for each digest; the bundle, and the folder that the project lies in.

    Several processes may do this at the same time: the first one that has everything wins.

    Raises:
        LadingError: if the archive is damaged or holds other files than the bundle says, or the store cannot be written.
    """
    store = Path(require_writable(environ)) / FOLDER
    store.mkdir(exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=store))
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as entries:
            entries.extractall(aside, filter="data")
        bundle = from_json((aside / MANIFEST).read_bytes())
        _check(bundle, aside)
        (aside / MANIFEST).touch()  # archives have no times, and pruning asks when it was used last
        place = store / bundle.digest
        try:
            aside.rename(place)
        except OSError:
            if not (place / MANIFEST).is_file():
                raise
        return bundle, place / ROOT
    except (OSError, tarfile.TarError) as error:
        raise LadingError(_broken(str(error))) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def unpacked(digest: str, environ: Mapping[str, str] | None = None) -> tuple[Bundle, Path] | None:
    """A bundle that this node has, with the folder that its project lies in; None if it has not."""
    place = Path(require_writable(environ)) / FOLDER / digest
    try:
        return from_json((place / MANIFEST).read_bytes()), place / ROOT
    except OSError:
        return None


def require_unpacked(digest: str, environ: Mapping[str, str] | None = None) -> tuple[Bundle, Path]:
    """As `unpacked`.

    Raises:
        LadingError: if this node has no such bundle.
    """
    found = unpacked(digest, environ)
    if found is None:
        raise absent(digest)
    return found


def absent(digest: str) -> LadingError:
    """The error to raise for a bundle that this machine has not, or no more."""
    what = f"The bundle {digest[:12]} is not in Lading's store here."
    return LadingError(Problem(rule="bundle-absent", what=what, instead="Deploy the project again.", code=ExitCode.DEPLOY))


def _check(bundle: Bundle, folder: Path) -> None:
    """The files are those that the bundle was made of: none changed on the way."""
    if fold_hashes(digest_found(walk(folder / ROOT, ROOT))) != bundle.source:
        raise LadingError(_broken("its files are not those that it was made of"))


def materialise(
    bundle: Bundle, root: Path, environ: Mapping[str, str] | None = None, reporter: Reporter = silent, *, offline: bool = False
) -> Placed:
    """What this node serves: the locked environments in its store (made if they are not there yet), the workers that run in them.

    Nothing is resolved. ``environ`` has the credentials of indexes and the variables that the bundle wants; where the store is, the process's
    own variables say. Environments are made by one process at a time, the others wait for it (see `lading.environments.store`).

    Raises:
        LadingError: if an environment cannot be made, for example because the node lacks the model's Python.
    """
    variables = os.environ if environ is None else environ
    options = pipeline.Options(
        directory=root,
        file=bundle.file,
        python=bundle.python,
        accelerator=bundle.accelerator,
        frozen=True,
        offline=offline,
        source=bundle.dependencies,
        environ=variables,
    )
    project = pipeline.read(options, reporter)
    planned = pipeline.plan(project, options, reporter)
    locked = pipeline.lock(planned, project, options, reporter)
    installed = pipeline.install(locked, project, options, reporter)
    ready = pipeline.remember(options, project, installed)
    spec = pipeline.describe_service(ready)
    given = {name: variables[name] for name in bundle.wanted if name in variables}
    apis = tuple(replace(api, openapi=_titled(api.openapi, bundle.name)) for api in spec.apis)
    service = pipeline.with_variables(replace(spec, title=bundle.name, apis=apis), given)
    return Placed(service=service, environments=tuple(ready.environments.values()))


def _titled(document: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    return None if document is None else {**document, "info": {**document["info"], "title": name}}


def _broken(why: str) -> Problem:
    return Problem(
        rule="bundle-damaged",
        what=f"The bundle cannot be used: {why}.",
        instead="Deploy the project again.",
        code=ExitCode.DEPLOY,
    )


def _changed(path: str) -> Problem:
    return Problem(
        rule="file-changed",
        what=f"{path} changed while it was packed.",
        instead="Deploy again when nothing writes to it any more.",
        code=ExitCode.DEPLOY,
    )
