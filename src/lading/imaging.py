"""The table of contents for images, after `lading.pipeline`'s: what ``build``, ``push`` and running an image do, stage by stage.

::

    pipeline: read -> plan -> lock -> make_recipe -> build -> publish
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading import pipeline
from lading.model.decisions import Decision, Kind
from lading.model.events import Reporter, silent
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field, replace

if TYPE_CHECKING:
    from lading.images.build import Built
    from lading.images.media import Destination, Image
    from lading.images.pins import BasePins
    from lading.images.push import Pushing
    from lading.images.recipe import Recipe, WeightSet
    from lading.images.store import Store
    from lading.model.service import ServedApi

_OF_CONTAINERS = {"jobs_folder": "/tmp/lading-jobs"}  # noqa: S108 -- the folder that every container may write to; a volume makes it last
_CUDA_PACKAGES = re.compile(r"nvidia-.*-cu\d+|nvidia-c\w+|jax-cuda\d+-.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What the user asked for of the image. ``name`` is its name, ``base`` the image below, ``user`` who containers run as.

    ``compression`` is ``gzip`` or ``zstd``; ``secrets`` are files by id for build steps that mount them; with ``no_cache`` what such steps and
    apt made before is made again; with ``upgrade_base`` the base's tag is asked for anew; ``weights`` are what `prepare_weights` found.
    """

    name: str
    base: str | None = None
    platform: str = ""
    compression: str = "gzip"
    bytecode: bool = True
    user: str | None = None
    secrets: Mapping[str, Path] = field(default_factory=dict)
    no_cache: bool = False
    upgrade_base: bool = False
    weights: tuple[WeightSet, ...] = ()


def make_recipe(locked: tuple[pipeline.Locked, ...], project: pipeline.Project, options: pipeline.Options, asked: BuildOptions) -> Recipe:
    """What the image is to be made from.

    Raises:
        LadingError: if the project has nothing to serve, or a signature cannot be read.
    """
    from lading.environments.interpreters import find_interpreters
    from lading.images.media import Compression
    from lading.images.recipe import DEFAULT_USER, EnvironmentRecipe, Recipe
    from lading.images.reference import check_name

    if not project.config.apis:
        raise LadingError(_nothing_to_serve(project.config.path))
    environments = tuple(
        EnvironmentRecipe(
            variant=one.planned.plan.variant if len(locked) > 1 else "",
            lock=one.lock,
            text=one.text,
            plan=pipeline.as_reached(one.planned.plan, project, options),
            interpreter=one.planned.interpreter if one.lock.conda is None else None,
        )
        for one in locked
    )
    base, decision = _base(locked, project, asked)
    system = tuple(dict.fromkeys(name for one in locked for name in one.planned.plan.system_packages))
    decisions = tuple(decision for one in locked for decision in one.lock.decisions)
    title = check_name(asked.name, Origin("-t")).repository.rpartition("/")[2]
    service = _service(environments, locked, project, title)
    return Recipe(
        title=title,
        root=project.root,
        environments=environments,
        service=service,
        base=base,
        platform=asked.platform or _platform(locked[0].planned.plan.target.platform),
        pythons=cache(lambda: find_interpreters(options.environ)),
        openapi=_openapi(project, title),
        config=_config(project),
        compression=Compression(asked.compression),
        bytecode=asked.bytecode,
        user=asked.user or DEFAULT_USER,
        system_packages=system,
        steps=_steps(project, asked),
        weights=asked.weights,
        decisions=(*decisions, decision, *_left_out(service["wanted"], project)),
        environ=options.environ,
        offline=options.offline,
        pins=_pins(locked, project, options, asked),
    )


def _pins(locked: tuple[pipeline.Locked, ...], project: pipeline.Project, options: pipeline.Options, asked: BuildOptions) -> BasePins:
    """What ``base.lock`` says, which lies beside the other locks."""
    from lading.images.pins import read_pins
    from lading.locks.bases import NAME

    if asked.upgrade_base and options.offline:
        raise LadingError(
            Problem(
                rule="usage",
                what="--upgrade-base and --offline contradict each other.",
                why="Its registry is asked what the base's tag stands for today.",
                instead="Use one of them.",
            )
        )
    path = (project.root / locked[0].planned.plan.lock_path).with_name(NAME)
    return read_pins(path, upgrade=asked.upgrade_base, locked=options.locked, frozen=options.frozen)


def _nothing_to_serve(path: str | None) -> Problem:
    return Problem(
        rule="no-predictor",
        what=f"{path or 'The project'} names no predictor.",
        origin=Origin(path) if path else None,
        instead="Write, for example: predict: predict.py:Predictor",
    )


def _platform(locked: str) -> str:
    """An image's platform for a lock's: ``linux/arm64`` for ``aarch64-manylinux_2_28``."""
    if "manylinux" not in locked and "linux" not in locked:
        raise LadingError(
            Problem(
                rule="image-platform",
                what=f"An image cannot hold packages for {locked}.",
                origin=Origin("--platform"),
                why="Containers run Linux.",
                instead="Build with --platform linux/amd64 or linux/arm64.",
            )
        )
    return "linux/arm64" if locked.startswith("aarch64") else "linux/amd64"


def _base(locked: tuple[pipeline.Locked, ...], project: pipeline.Project, asked: BuildOptions) -> tuple[str, Decision]:
    """The base image: what the user names, what Cortex's configuration names, else a slim Python."""
    from lading.frameworks.tags import minor_of
    from lading.images.cuda_bases import cuda_base

    target = locked[0].planned.plan.target
    minor = minor_of(locked[0].lock.target.get("python", target.python))
    own = next((api for api in project.config.apis if api.image), None)
    if asked.base:
        # Where a folder lies on this machine is nobody's business, and would make each checkout another image.
        shown = Path(asked.base).name if Path(asked.base).exists() or asked.base.startswith(("oci:", "/", ".", "~")) else asked.base
        return asked.base, _base_decision(f"--base {shown}", shown, "it was asked for", None)
    if own is not None:
        image = str(own.image)
        return image, _base_decision(image, image, "the configuration names it", own.origin)
    if all(one.lock.conda for one in locked):
        return "debian:stable-slim", _base_decision("no base", "debian:stable-slim", "conda brings its own Python", None)
    slim = f"python:{minor}-slim"
    if target.accelerator == "cpu":
        return slim, _base_decision("no base", slim, "it has the project's Python and little else", None)
    carried = sorted(name for one in locked for name in one.lock.versions if _CUDA_PACKAGES.fullmatch(name))
    carries = carried or any(f"+{target.accelerator}" in version for one in locked for version in one.lock.versions.values())
    if carries:
        because = f"the wheels bring CUDA themselves ({', '.join(carried[:3]) or target.accelerator}), so only the host's driver is needed; an NVIDIA devel image, as Cog takes, would add a second CUDA of several GB"
        return slim, _base_decision(f"a GPU image for {target.accelerator}", slim, because, None)
    runtime = cuda_base(target.accelerator)
    because = "no wheel of the lock brings CUDA; the runtime image has the libraries without the compilers of the devel image"
    return runtime, _base_decision(f"a GPU image for {target.accelerator}", runtime, because, None)


def _base_decision(asked: str, chose: str, because: str, origin: Origin | None) -> Decision:
    return Decision(
        rule="base-image",
        kind=Kind.CHOSEN,
        subject="base",
        asked=asked,
        chose=chose,
        because=because,
        origin=origin,
        instead="--base IMAGE",
    )


def _service(environments: Any, locked: tuple[pipeline.Locked, ...], project: pipeline.Project, title: str) -> Mapping[str, Any]:
    """The server's configuration with the image's own paths."""
    from lading.images.project import ROOT
    from lading.model.environment import Environment
    from lading.service.container import as_json

    variants = tuple(
        pipeline.Variant(
            name=one.planned.plan.variant,
            lock=one.planned.plan.lock_path,
            apis=tuple(api.name for api in one.planned.plan.apis),
            environment=Environment(path=f"/{recipe.prefix}", python=f"/{recipe.prefix}/bin/python", key="image"),
        )
        for one, recipe in zip(locked, environments, strict=True)
    )
    by_api = {name: one.environment for one in variants for name in one.apis}
    ready = pipeline.Ready(root=project.root, files=project.files, config=project.config, environments=by_api, variants=variants)
    spec, _ = pipeline.without_secrets(pipeline.describe_service(ready), project.config, project.files)

    # The folder's name on this machine is nobody's business: two checkouts are one image.
    def inside(api: ServedApi) -> ServedApi:
        return replace(api, worker=replace(api.worker, root=f"/{ROOT}"), openapi=_titled(api.openapi, project, title))

    return {**as_json(replace(spec.each(inside), title=title)), **_OF_CONTAINERS}


def _left_out(names: Sequence[str], project: pipeline.Project) -> tuple[Decision, ...]:
    """The variables of ``.env``: whoever has the image would have their values."""
    if not names:
        return ()
    path = f"{(project.config.path or '').rpartition('/')[0]}/.env".lstrip("/")
    decision = Decision(
        rule="variables-left-out",
        kind=Kind.CHOSEN,
        subject=path,
        asked=", ".join(names),
        chose="not in the image",
        because="values of .env are credentials by convention, and whoever has an image can read it",
        origin=Origin(path),
        instead=f"give them to the container (podman run --env-file {path}, lading serve IMAGE -e {names[0]}=...); or write what is not secret as env of the API",
    )
    return (decision,)


def _openapi(project: pipeline.Project, title: str) -> Mapping[str, Any] | None:
    return _titled(pipeline.openapi(project), project, title)


def _titled(document: Mapping[str, Any] | None, project: pipeline.Project, title: str) -> Mapping[str, Any] | None:
    info = (document or {}).get("info")
    if document is None or not isinstance(info, Mapping) or info.get("title") != project.root.name:
        return document
    return {**document, "info": {**info, "title": title}}


def _config(project: pipeline.Project) -> Any:
    """The configuration as data, for Cog's label."""
    import yaml

    content = project.files.read(project.config.path) if project.config.path else None
    if content is None:
        return None
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None


def _steps(project: pipeline.Project, asked: BuildOptions) -> Any:
    from lading.images.recipe import Steps

    scripts: dict[str, None] = {}
    for api in project.config.apis:
        named = api.dependencies.shell
        path = named.path if named else "dependencies.sh"
        if (named or str(project.config.kind) == "cortex") and project.files.read(path) is not None:
            scripts[path] = None
    targets = _mounts(project)
    after = tuple((command, targets.get(command, ())) for command in project.config.run)
    return Steps(before=tuple(scripts), after=after, secrets=asked.secrets, again=asked.no_cache)


def _mounts(project: pipeline.Project) -> dict[str, tuple[tuple[str, str], ...]]:
    """The secrets (id and target) that each of Cog's commands mounts; their form was checked when the configuration was read."""
    config = _config(project)
    build = config.get("build") if isinstance(config, dict) else None
    entries = [one for key in ("run", "pre_install") for one in (build or {}).get(key) or () if isinstance(one, dict)]
    return {
        str(one["command"]).strip(): tuple((str(mount["id"]), str(mount["target"])) for mount in one.get("mounts") or ()) for one in entries
    }


def prepare_weights(
    project: pipeline.Project, options: pipeline.Options, reporter: Reporter, *, fetch: bool = True
) -> tuple[tuple[WeightSet, ...], tuple[Decision, ...]]:
    """The weights that the configuration names, on this machine and as their lock says; and what was decided on the way.

    Without ``fetch`` they stay where they are, and files' sources are addresses: for a builder that fetches them itself.

    Raises:
        LadingError: if they cannot be had, or are something else than the lock says.
    """
    if not project.config.weights:
        return (), ()
    from lading.images.folders import Found
    from lading.images.recipe import WeightSet
    from lading.weights.locking import addresses, files, settle, weights_of

    weights = weights_of(project.root, project.config, options.environ, reporter, offline=options.offline)
    locked, decisions = settle(weights, locked=options.locked, frozen=options.frozen)
    placed = [(one.weight, one.file, str(one.here)) for one in files(weights, locked)] if fetch else addresses(weights, locked)
    found: dict[str, list[Found]] = {one.name: [] for one in locked}
    for weight, file, source in placed:
        path = f"{weight.target.lstrip('/')}/{file.path}"
        found[weight.name].append(Found(path=path, source=source, size=file.size, sha256=file.digest.removeprefix("sha256:")))
    sets = tuple(
        WeightSet(
            name=one.name,
            target=one.target,
            set_digest=one.set_digest,
            files=tuple(found[one.name]),
            sources=tuple(source.uri for source in one.sources),
        )
        for one in locked
    )
    return sets, decisions


def build(recipe: Recipe, store: Store | None = None, reporter: Reporter = silent, pushing: Pushing | None = None) -> Built:
    """Make the image; all of it is in the local store then. The caller holds `in_use`, until the image has a name.

    ``pushing`` is sending ahead (`Pushing.ahead`): layers go to its registry while others are made.

    Raises:
        LadingError: if that is not possible; nothing has a name then.
    """
    from lading.images.build import build_image
    from lading.images.store import Store as LocalStore

    return build_image(recipe, store or LocalStore(), reporter, pushing.offer if pushing else None)


def in_use() -> AbstractContextManager[None]:
    """While this lasts, `lading env prune` takes nothing out of the store of images."""
    from lading.images.store import Store as LocalStore

    return LocalStore().in_use()


def destination(text: str | None, name: str) -> tuple[Destination, str]:
    """Where ``-o`` says that the image goes, and its name there.

    ``oci:DIR``, ``docker-archive:FILE``; None is the local store. For the name's own registry see `pushing_for`.

    Raises:
        LadingError: if it is none of these.
    """
    from lading.images.archive import Archive
    from lading.images.layout import Layout
    from lading.images.reference import local_name
    from lading.images.store import Store as LocalStore

    if text is None or text == "store":
        return LocalStore(), local_name(name)
    kind, _, place = text.partition(":")
    if kind == "oci" and place:
        return Layout(Path(place).expanduser()), local_name(name).rpartition(":")[2]
    if kind in ("docker-archive", "archive") and place:
        return Archive(Path(place).expanduser()), local_name(name)
    raise LadingError(
        Problem(
            rule="usage",
            what=f'"{text}" is no destination for an image.',
            origin=Origin("-o"),
            instead="Write -o oci:DIR, -o docker-archive:FILE, -o registry, or leave it out for the local store.",
        )
    )


def pushing_for(reporter: Reporter = silent, *, insecure: bool | None = None) -> Pushing:
    """What sends images of the local store to the registry that their name names; ``insecure`` is as for `lading.images.registry.Registry`."""
    from lading.images.push import Pushing
    from lading.images.store import Store as LocalStore

    return Pushing(LocalStore(), reporter, insecure=insecure)


def stored(name: str, platform: str | None = None) -> tuple[Image, ...]:
    """An image of the local store: one, or one for each platform.

    Raises:
        LadingError: if there is none of this name.
    """
    from lading.images.stored import load

    return load(name, platform)


def default_name(project: pipeline.Project) -> str:
    """The image's name where none is given: the one of Cog's configuration, else the folder's."""
    from lading.images.reference import name_from

    config = _config(project)
    named = config.get("image") or config.get("model") if isinstance(config, dict) else None
    return str(named) if named else name_from(project.root.name)


def runnable(name: str, reporter: Reporter = silent) -> Image:
    """An image for this machine's kind of processor: the store's, else fetched from its registry into the store.

    Raises:
        LadingError: if there is none of this name, or not for this machine.
    """
    from lading.images.interpreters import host_platform
    from lading.images.stored import fetch, is_stored

    if is_stored(name):
        return stored(name, host_platform())[0]
    return fetch(name, host_platform(), reporter)
