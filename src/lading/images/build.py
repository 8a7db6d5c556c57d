"""From a recipe to an image, layer by layer. Nothing is installed and, but for build steps, nothing of the image is run."""

from __future__ import annotations

import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any

from lading.environments.threads import threads
from lading.frameworks.tags import minor_of
from lading.images import bill, front, sbom
from lading.images.arrange import LARGE_FILE, MOST, MOST_OF_FILES, Group, arrange, arrange_files, require_few
from lading.images.base import Base, load_base
from lading.images.build_decisions import clash, hid, ran
from lading.images.bytecode import FORMAT as BYTECODE_FORMAT
from lading.images.bytecode import Source, compile_sources, file_sources, wheel_sources
from lading.images.checkout import Checkout
from lading.images.download import Downloader
from lading.images.folders import Found, digest_found, with_digests, write_found
from lading.images.interpreters import Placed, base_glibc, place_interpreter, require_glibc
from lading.images.inventory import Inventory, pythons_of, records_of
from lading.images.labels import Document, annotations_of, make_labels
from lading.images.layers import LayerWriter
from lading.images.manifest import Settings, make_config, make_manifest
from lading.images.media import Image, Kind, Layer, canonical, digest_of
from lading.images.packages import Package, choose_packages
from lading.images.project import ProjectFilesFound, find_files
from lading.images.recipe import PORT, SERVICE, SHARE, VENV, WEIGHTS, EnvironmentRecipe, Recipe, WeightSet
from lading.images.sameness import bytecode_left_out, choose_compiler, compressor_decisions
from lading.images.secrets import files_with_secrets, scan, scan_layer, values_of
from lading.images.source import Builder
from lading.images.splice import Wheel, write_wheels
from lading.images.store import Store
from lading.images.tar import Entry
from lading.images.wheels import Place, read_wheel
from lading.model.decisions import Decision
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.files import fold_hashes
from lading.model.plan import Role
from lading.model.project import ProjectKind
from lading.model.records import dataclass, field, replace
from lading.model.secrets import Redactor
from lading.model.target import Interpreter, Target

if TYPE_CHECKING:
    from lading.images.conda import Prefix
    from lading.images.step_files import StepFiles

STEP = "Writing layers"
Offer = Callable[[Layer, str | None], None]
"""Takes a layer that is in the store, and the base's repository, for a registry's mounts."""

_OTHERS = 8
"""Layers of the server (its Python, packages, code and bytecode), of the environments, of commands, of the bill of materials and of the
project, at most."""

_SLOW = 2
"""How many times as long a byte of many small files takes as one of a large wheel, and compiling as copying."""
_BILL = 2_000_000
"""The bill of materials takes as long as so many bytes of small files."""

_LEAST = 5
"""Layers of any image: the server's packages and code, the environments, the bill of materials, the project."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image, what was decided while it was made, and what has changed in the lock of its base, in words."""

    image: Image
    decisions: tuple[Decision, ...]
    locked: str | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """A layer to be made, and about how much work that is: bytes of large files."""

    make: Callable[[], Layer]
    work: int = 0


@dataclass(slots=True)
class _Environment:
    """One environment while its layers are made."""

    recipe: EnvironmentRecipe
    target: Target
    place: Place
    python: Placed
    packages: tuple[Package, ...]
    wheels: dict[str, Wheel] = field(default_factory=dict)
    prefix: Prefix | None = None
    compiler: Interpreter | None = None

    @property
    def layers(self) -> list[Layer]:
        """Those that are there before its packages': of conda's prefix, or of a Python."""
        return [*(self.prefix.layers if self.prefix else ()), *([self.python.layer] if self.python.layer else ())]


def build_image(recipe: Recipe, store: Store, reporter: Reporter = silent, offer: Offer | None = None) -> Built:
    """The image of a recipe, all its blobs in the store; the caller holds `Store.in_use`, until the image has a name.

    ``offer`` gets the layers below the project's own as soon as they are made and were searched for secrets.

    Raises:
        LadingError: if the base or a package cannot be had, a step fails, or the image would hold a secret.
    """
    return _Build(recipe, store, reporter, offer).run()


class _Build:
    def __init__(self, recipe: Recipe, store: Store, reporter: Reporter, offer: Offer | None = None) -> None:
        self.recipe, self.store, self.reporter, self.offer = recipe, store, reporter, offer
        self.decisions: list[Decision] = [one for one in recipe.decisions if one.rule != "commands-not-run"]
        self.secrets = tuple(secret for one in recipe.environments for secret in one.plan.secrets())
        self.values = values_of(self.secrets, recipe.environ, recipe.steps.secrets)
        self.has_home = False

    def run(self) -> Built:
        self.checkout = Checkout(self.recipe.root)
        base = self.base = self._load_base()
        require_glibc(base)
        steps = self.recipe.steps
        asked = bool(self.recipe.system_packages) + len(steps.before) + bool(steps.after)
        require_few(len(base.layers) + asked + _LEAST, base.name, len(base.layers))
        newly = self._pin(base)
        self._offer(base.layers)
        files = self._project_files()
        below = self._below(files)
        environments = [self._environment(one) for one in self.recipe.environments]
        self.service = self._activated(environments)
        self.below = len(base.layers) + len(below)
        self.decisions += compressor_decisions(self.recipe.compression, zlib.ZLIB_RUNTIME_VERSION)
        self.reporter(Event(step=STEP, phase=Phase.STARTED))
        try:
            with threads(max(2, os.cpu_count() or 1)) as pool:
                there = [*below, *(layer for one in environments for layer in one.layers)]
                jobs = [_Job(partial(self._ready, layer), layer.descriptor.size) for layer in there]
                jobs += self._jobs(environments, files, pool)
                if not steps.after:
                    jobs.append(_Job(lambda: self._bill([*base.layers, *below], environments), _SLOW * _BILL))
                made = _done(pool, jobs)
        except BaseException:
            self.reporter(Event(step=STEP, phase=Phase.FAILED))
            raise
        layers = self._stepped(self._ordered((*base.layers, *made)), environments)
        if steps.after:
            layers = self._ordered((*layers, self._bill(layers, environments)))
        require_few(len(layers), base.name, len(base.layers))
        image = self._image(layers, environments)
        scan(image, self.values, self.store, canonical(self.base.config))
        new = sum(not layer.reused for layer in image.layers)
        self.reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{len(layers)} layers, {new} new"))
        return Built(image, tuple(dict.fromkeys(self.decisions)), newly)

    def _load_base(self) -> Base:
        recipe = self.recipe
        return load_base(recipe.base, recipe.platform, self.store, self.reporter, offline=recipe.offline, pins=recipe.pins)

    def _pin(self, base: Base) -> str | None:
        """Keep what the base's tag stands for: before the project's files are looked at, as the lock is one of them."""
        pins = self.recipe.pins
        if pins is None or base.registry is None or not base.stands_for:
            return None
        self.decisions.append(pins.decision(base.name, base.stands_for))
        return pins.keep(replace(base.registry, digest=None), base.stands_for)

    # -- what the layers are made from

    def _below(self, files: ProjectFilesFound) -> list[Layer]:
        """System packages and scripts of the project, which come before any package."""
        found: list[Layer] = []
        if self.base.hidden:
            found.append(self._hiding(self.base.hidden))
            self.decisions.append(hid(self.base.name, self.base.hidden))
        if not self.recipe.system_packages and not self.recipe.steps.before:
            return found
        from lading.images import steps, system  # noqa: PLC0415 -- for the projects that have some

        if self.recipe.system_packages:
            layer, decision = system.system_layer(self.base, self.recipe, self.store, self.reporter)
            found.append(layer)
            self.decisions.append(decision)
        for script in self.recipe.steps.before:
            step = steps.script_layer(script, files.files, self.base, found, self.recipe, self.store, self.reporter)
            found.append(step.layer)
            self.decisions.append(ran("script-run-in-build-container", script, "it may change anything below the packages"))
            self._note_files(step.files, script)
        return found

    def _hiding(self, folders: Sequence[str]) -> Layer:
        """What removes folders of the base (whiteouts of the OCI image specification): theirs and ours would be seen as one."""

        def write(writer: LayerWriter) -> None:
            for path in folders:
                above, _, name = path.rpartition("/")
                writer.file(Entry(path=f"{above}/.wh.{name}".lstrip("/"), size=0), b"")

        return self._layer(Kind.HIDDEN, ", ".join(f"/{path}" for path in folders), ["hidden", *folders], write)

    def _stepped(self, layers: list[Layer], environments: Sequence[_Environment]) -> list[Layer]:
        """With the layers of commands that run after the packages are there, below the project's own."""
        if not self.recipe.steps.after:
            return layers
        from lading.images import steps  # noqa: PLC0415 -- for the projects that have some

        asked = "; ".join(command for command, _ in self.recipe.steps.after)
        self.decisions.append(ran("commands-run-in-build-container", asked, "they may use the packages, and change anything"))
        top = [layer for layer in layers if layer.kind in (Kind.WEIGHTS, Kind.PROJECT)]
        under = layers[: len(layers) - len(top)]
        under_image = self._image(under, environments)
        step = steps.command_layer(under_image, self.recipe, self.store, self.reporter)
        self._note_files(step.files, "build.run")
        return [*under, step.layer, *top]

    def _note_files(self, files: StepFiles, step: str) -> None:
        self.decisions += files.decisions(step)
        self.has_home = self.has_home or bool(files.home)

    def _environment(self, recipe: EnvironmentRecipe) -> _Environment:
        target = self._fitted(recipe.target)
        minor = minor_of(target.python)
        python, further = self._python(recipe, minor)
        packages = choose_packages(recipe.lock, target, recipe.plan.options.no_binary, recipe.plan.lock_path)
        found = _Environment(recipe, target, Place(prefix=recipe.prefix, python=minor), python, packages, prefix=further)
        if self.recipe.bytecode:
            chosen = choose_compiler(recipe.interpreter, self.recipe.pythons, recipe.target.python)
            found.compiler = chosen.interpreter
            self.decisions += chosen.decisions
        found.wheels = self._wheels(packages, recipe, target)
        self._note_clashes(found)
        return found

    def _python(self, recipe: EnvironmentRecipe, minor: str) -> tuple[Placed, Prefix | None]:
        """The environment's Python: conda's, which comes with its packages, or one for a virtual environment."""
        conda = recipe.lock.conda
        if conda is None:
            return place_interpreter(self.base, minor, recipe.interpreter, self.store, self.recipe.compression), None
        from lading.images.conda import prefix_layers  # noqa: PLC0415 -- for the projects that have some

        place = Place(prefix=recipe.prefix, python=minor)
        made = prefix_layers(
            conda,
            recipe.plan,
            place,
            self.recipe.root,
            self.store,
            self.recipe.compression,
            self.reporter,
            bytecode=self.recipe.bytecode,
        )
        self.decisions += made.decisions
        return Placed(path=f"/{recipe.prefix}/bin/python{minor}", version=conda.python, layer=made.layers[0]), made

    def _fitted(self, target: Target) -> Target:
        """The target, with the C library of the base where that is older than the one that the lock was made for."""
        has = base_glibc(self.base)
        level = re.fullmatch(r"(\w+)-manylinux_2_(\d+)", target.platform)
        if not has or level is None or int(level[2]) <= has:
            return target
        return replace(target, platform=f"{level[1]}-manylinux_2_{has}")

    def _wheels(self, packages: Sequence[Package], recipe: EnvironmentRecipe, target: Target) -> dict[str, Wheel]:
        downloader = Downloader(self.store, self.recipe.root, recipe.plan, self.reporter, offline=self.recipe.offline)
        ready = [one for one in packages if one.kind == "wheel" or (one.kind == "archive" and one.filename.endswith(".whl"))]
        paths = downloader.fetch_all(ready)
        wheels = {one.name: _as_wheel(one, paths[one.name]) for one in ready}
        others = [one for one in packages if one.name not in wheels]
        if others:
            wheels |= self._built(others, recipe, target, downloader)
        return wheels

    def _built(self, packages: Sequence[Package], recipe: EnvironmentRecipe, target: Target, downloader: Downloader) -> dict[str, Wheel]:
        interpreter = recipe.interpreter or self._host(minor_of(target.python))
        if interpreter is None:
            from lading.images.interpreters import no_python_for_builds  # noqa: PLC0415 -- on the way out

            raise no_python_for_builds(packages[0].name, target.python)
        builder = Builder(
            store=self.store,
            root=self.recipe.root,
            plan=recipe.plan,
            target=target,
            interpreter=interpreter,
            downloader=downloader,
            reporter=self.reporter,
            offline=self.recipe.offline,
        )
        return {package.name: builder.build(package) for package in packages}

    def _host(self, minor: str) -> Interpreter | None:
        return next((one for one in self.recipe.pythons() if one.minor == minor), None)

    def _note_clashes(self, environment: _Environment) -> None:
        """Files that two packages bring with different content: the one whose layer is higher is what containers see."""
        key = fold_hashes([environment.place.key(), *sorted(wheel.sha256 for wheel in environment.wheels.values())])
        known = self.store.note("clashes", key)
        if known is None:
            known = _clashes(environment)
            self.store.keep_note("clashes", key, known)
        for path, names in known[:20]:
            self.decisions.append(clash(path, names))

    def _activated(self, environments: Sequence[_Environment]) -> Mapping[str, Any]:
        """The server's configuration, with what activating a conda prefix sets for the workers that run in it."""
        variables = {f"/{one.place.prefix}/bin/python": one.prefix.variables for one in environments if one.prefix}
        return {**self.recipe.service, "apis": [_with_variables(api, variables) for api in self.recipe.service.get("apis", ())]}

    def _project_files(self) -> ProjectFilesFound:
        paths = {source.path for one in self.recipe.environments for source in one.plan.sources if source.role is Role.USED}
        paths |= {source.path for one in self.recipe.environments for source in one.plan.sources if source.role is Role.IGNORED}
        secret = files_with_secrets(self.recipe.root, sorted(paths), self.values)
        found = find_files(self.recipe.root, secret, cortex=self.recipe.service.get("kind") == ProjectKind.CORTEX)
        self.decisions += found.decisions
        # Weights that lie where containers have them come with their own layers.
        elsewhere = {one.path for weights in self.recipe.weights for one in weights.files}
        return ProjectFilesFound([one for one in found.files if one.path not in elsewhere], found.decisions)

    # -- the layers

    def _jobs(self, environments: Sequence[_Environment], files: ProjectFilesFound, pool: ThreadPoolExecutor) -> list[_Job]:
        large = self.large = list(pool.map(_with_digest, [one for one in files.files if one.size >= LARGE_FILE]))
        prefixes = sum(len(one.prefix.layers) for one in environments if one.prefix)
        left = MOST - (self.below + prefixes + len(environments) + _OTHERS)
        # Files and packages share layers where there is little room; whether that was enough is seen in the end.
        each = len(environments) * (2 if self.recipe.bytecode else 1)
        file_groups = self._file_groups(large, min(MOST_OF_FILES, max(1, left - 2 * each)))
        room = max(1, (left - len(file_groups)) // each)
        jobs: list[_Job] = []
        for environment in environments:
            sizes = {name: wheel.size for name, wheel in environment.wheels.items()}
            groups = arrange(sizes, room)
            weights = [sum(sizes[name] for name in group.names) * (_SLOW if len(group.names) > 1 else 1) for group in groups]
            jobs += [_Job(partial(self._wheel_layer, environment, group), weight) for group, weight in zip(groups, weights, strict=True)]
            jobs += [
                _Job(partial(self._bytecode_layer, environment, group), weight * _SLOW)
                for group, weight in zip(groups, weights, strict=True)
                if self.recipe.bytecode and self._has_modules(environment, group)
            ]
        jobs += self._front_jobs(environments)
        jobs.append(_Job(partial(self._environment_layer, environments)))
        jobs += [_Job(partial(self._file_layer, title, group), sum(one.size for one in group)) for title, group in file_groups]
        return [*jobs, _Job(partial(self._project_layer, [one for one in files.files if one.size < LARGE_FILE]))]

    def _wheel_layer(self, environment: _Environment, group: Group) -> Layer:
        wheels = [environment.wheels[name] for name in group.names]
        title = group.title if len(wheels) > 1 else f"{wheels[0].name} {wheels[0].version}"
        inputs = ["wheels", environment.place.key(), *map(_wheel_key, wheels)]
        return self._layer(Kind.PACKAGES, title, inputs, lambda writer: write_wheels(writer, wheels, environment.place))

    def _has_modules(self, environment: _Environment, group: Group) -> bool:
        return environment.compiler is not None and any(_modules_of(environment.wheels[name], self.store) for name in group.names)

    def _bytecode_layer(self, environment: _Environment, group: Group) -> Layer:
        wheels = [environment.wheels[name] for name in group.names]
        compiler = environment.compiler
        assert compiler is not None
        inputs = ["bytecode", BYTECODE_FORMAT, compiler.version, environment.place.key(), *(wheel.sha256 for wheel in wheels)]
        return self._compiled(Kind.BYTECODE, group.title, inputs, lambda: {compiler.path: wheel_sources(wheels, environment.place)})

    def _compiled(self, kind: Kind, title: str, inputs: list[str], sources: Callable[[], Mapping[str, list[Source]]]) -> Layer:
        def write(writer: LayerWriter) -> None:
            found: dict[str, bytes] = {}
            for python, modules in sources().items():
                found |= compile_sources(python, modules)
            for path, data in sorted(found.items(), key=lambda item: os.fsencode(item[0])):
                writer.file(Entry(path=path, size=len(data)), data)

        return self._layer(kind, title, inputs, write)

    def _front_jobs(self, environments: Sequence[_Environment]) -> list[_Job]:
        """The server: its packages, its code, and its bytecode."""
        minor, python, place = self._front_python(environments)
        self.front = (place, python)
        plan = environments[0].recipe.plan
        target = replace(environments[0].target, python=f"{minor}.0", accelerator="cpu")
        grpc = front.needs_grpc(self.recipe.service)
        lock = front.front_lock(plan, target, self.recipe.root, self.store, self.reporter, offline=self.recipe.offline, grpc=grpc)
        packages = self.front_packages = choose_packages(lock, target, (), "the server's lock")
        recipe = replace(environments[0].recipe, lock=lock)
        wheels = [wheel for _, wheel in sorted(self._wheels(packages, recipe, target).items())]
        code = front.own_code(place)
        compilers = {one.place.python: one.compiler for one in environments}
        size = _SLOW * sum(wheel.size for wheel in wheels)
        jobs = [
            _Job(
                lambda: self._layer(
                    Kind.FRONT,
                    "the server's packages",
                    ["wheels", place.key(), *map(_wheel_key, wheels)],
                    lambda writer: write_wheels(writer, wheels, place),
                ),
                size,
            ),
            _Job(lambda: self._ready(front.code_layer(self.store, code, self.recipe.compression))),
        ]
        if python.layer is not None:
            layer = python.layer
            jobs.append(_Job(lambda: self._ready(layer)))
        if self.recipe.bytecode:
            if not compilers.get(minor) and self._host(minor) is None and minor not in compilers:
                self.decisions.append(bytecode_left_out(minor, "the server's bytecode"))
            jobs.append(_Job(lambda: self._front_bytecode(minor, place, wheels, code, compilers), size * _SLOW))
        return jobs

    def _front_python(self, environments: Sequence[_Environment]) -> tuple[str, Placed, Place]:
        """The Python that the server runs on: the model's where it is new enough, else another of the base, else a copy of this machine's."""
        new = [one for one in environments if _numbers(one.place.python) >= front.OLDEST]
        if new:
            minor, python = new[0].place.python, replace(new[0].python, layer=None)
        else:
            known = [minor for minor in self.base.pythons if _numbers(minor) >= front.OLDEST]
            here = f"{sys.version_info[0]}.{sys.version_info[1]}"
            minor = max(known, key=_numbers) if known else here
            python = place_interpreter(self.base, minor, self._host(minor), self.store, self.recipe.compression)
        return minor, python, Place(prefix=front.PREFIX, python=minor)

    def _front_bytecode(
        self, minor: str, place: Place, wheels: list[Wheel], code: list[Found], compilers: Mapping[str, Interpreter | None]
    ) -> Layer:
        """For the server's Python, and of the worker for each of the models' Pythons."""
        own = compilers.get(minor) or self._host(minor)
        others = {one.path: one for name, one in compilers.items() if one is not None and name != minor}
        worker = [one for one in code if f"{place.site}/lading_worker/" in one.path]

        def sources() -> dict[str, list[Source]]:
            found = {python: file_sources(worker, place.site) for python in others}
            if own is not None:
                found[own.path] = [*wheel_sources(wheels, place), *file_sources(code, place.site)]
            return found

        versions = sorted(one.version for one in (*others.values(), *([own] if own else [])))
        inputs = ["bytecode", BYTECODE_FORMAT, *versions, place.key(), *(wheel.sha256 for wheel in wheels), *digest_found(code)]
        return self._compiled(Kind.FRONT, "the server's bytecode", inputs, sources)

    def _environment_layer(self, environments: Sequence[_Environment]) -> Layer:
        """The virtual environments without their packages, and the locks."""
        files: dict[str, tuple[str, bytes]] = {}
        for one in environments:
            files |= front.skeleton(one.place.prefix, one.python.path, one.python.version) if one.prefix is None else {}
            files[f"{SHARE}/{one.recipe.plan.lock_path}"] = ("", one.recipe.text.encode())
        place, python = self.front
        files |= front.skeleton(place.prefix, python.path, python.version)
        inputs = [f"{path}\0{target}\0{content.hex()}" for path, (target, content) in sorted(files.items())]
        return self._layer(Kind.ENVIRONMENT, "environment, lock", ["environment", *inputs], lambda writer: front.write_files(writer, files))

    def _bill(self, layers: Sequence[Layer], environments: Sequence[_Environment]) -> Layer:
        """The bill of materials, below the project's own files: what Lading puts into an image, and what ``layers`` hold beside it."""
        place, python = self.front
        records = records_of(layers, self.store)
        hidden = tuple(f"/{path}/" for path in self.base.hidden)
        packages = [(f"/{one.place.prefix}", package) for one in environments for package in one.packages]
        inventory = Inventory(
            title=self.recipe.title,
            system=self.base.system,
            records=records.without(hidden),
            pythons=pythons_of(self.base, [*(one.python for one in environments), python]),
            packages=(*packages, *((f"/{place.prefix}", package.anywhere) for package in self.front_packages)),
            conda=tuple(
                (f"/{one.place.prefix}", package)
                for one in environments
                if one.recipe.lock.conda
                for package in one.recipe.lock.conda.packages
            ),
            weights=self.recipe.weights,
            files=tuple(self.large),
        )

        def write(writer: LayerWriter) -> None:
            content = sbom.make_sbom(inventory)
            writer.file(Entry(path=bill.PATH, size=len(content)), content)

        return self._layer(Kind.BILL, "bill of materials", ["bill", sbom.FORMAT, *inventory.facts], write)

    def _file_groups(self, large: Sequence[Found], most: int) -> list[tuple[str, list[Found]]]:
        """Files that get layers apart from the project's: its own large ones, and the weights that the configuration names."""
        sets = [(weights.name, list(weights.files)) for weights in self.recipe.weights]
        return arrange_files(sets, list(large), most)

    def _file_layer(self, title: str, group: list[Found]) -> Layer:
        files = with_digests(group)
        return self._layer(Kind.WEIGHTS, title, ["folder", *digest_found(files)], lambda writer: write_found(writer, files))

    def _project_layer(self, files: list[Found]) -> Layer:
        found = with_digests(files)
        service = canonical(self.service)
        extra = {SERVICE: service}
        if self.recipe.weights:
            extra[WEIGHTS] = canonical({"weights": [_announced(one) for one in self.recipe.weights]})
        if self.recipe.openapi:
            extra[f"{SHARE}/openapi.json"] = canonical(self.recipe.openapi)
        inputs = ["project", *digest_found(found), *(f"{path}\0{digest_of(content)}" for path, content in sorted(extra.items()))]

        def write(writer: LayerWriter) -> None:
            for path, content in sorted(extra.items()):
                writer.file(Entry(path=path, size=len(content)), content)
            write_found(writer, found)

        return self._layer(Kind.PROJECT, f"{self.recipe.title}: {len(found)} files", inputs, write)

    def _layer(self, kind: Kind, title: str, inputs: list[str], write: Callable[[LayerWriter], None]) -> Layer:
        layer = self.store.layer(kind, title, inputs, self.recipe.compression, write)
        self.reporter(Event(step=STEP, phase=Phase.PROGRESS, message=f"{kind}: {title}"))
        return self._ready(layer)

    def _ready(self, layer: Layer) -> Layer:
        """A layer that was searched for secrets, on its way to where it is wanted; the project's own waits for the image as a whole."""
        scan_layer(layer, self.values, self.store)
        if layer.kind is not Kind.PROJECT:
            self._offer([layer])
        return layer

    def _offer(self, layers: Sequence[Layer]) -> None:
        if self.offer is not None:
            for layer in layers:
                self.offer(layer, self.base.repository)

    @staticmethod
    def _ordered(layers: Sequence[Layer | None]) -> list[Layer]:
        """From what changes least to what changes most, each layer once."""
        order = list(Kind)
        there = dict.fromkeys(layer for layer in layers if layer is not None)
        return sorted(_unique(list(there)), key=lambda layer: order.index(layer.kind))

    # -- the documents

    def _documents(self, layers: Sequence[Layer]) -> list[Document]:
        """What the image says about itself in files of its own."""
        found = [
            Document(
                name=f"lock.{one.variant}" if one.variant else "lock", path=f"/{SHARE}/{one.plan.lock_path}", content=one.text.encode()
            )
            for one in self.recipe.environments
        ]
        layer = bill.layer_of(tuple(layers))
        if layer is not None:
            found.append(Document(name="sbom", path=f"/{bill.PATH}", content=bill.read_sbom(self.store, layer)))
        if self.recipe.openapi:
            found.append(Document(name="openapi", path=f"/{SHARE}/openapi.json", content=canonical(self.recipe.openapi)))
        return found

    def _image(self, layers: Sequence[Layer], environments: Sequence[_Environment]) -> Image:
        packages = list({(one.name, one.version): one for environment in environments for one in environment.packages}.values())
        redact = Redactor(self.secrets)
        labels = make_labels(
            title=self.recipe.title,
            base=self.base,
            revision=self.checkout.revision,
            source=self.checkout.remote,
            config=self.recipe.config,
            openapi=self.recipe.openapi,
            packages=packages,
            decisions=self.decisions,
            documents=self._documents(layers),
            service=self.service,
            redact=redact,
        )
        settings = self._settings()
        config = make_config(self.base.config, layers, settings, labels, self.recipe.platform)
        manifest = make_manifest(config, layers, annotations_of(labels))
        return Image(
            manifest=manifest,
            config=config,
            layers=tuple(layers),
            blobs=self.store,
            platform=self.recipe.platform,
            base=self.base.repository,
        )

    def _settings(self) -> Settings:
        path = self.base.variables.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        python = f"/{front.PREFIX}/bin/python"
        return Settings(
            entrypoint=(python, "-I", "-m", "lading.service.container"),
            env=self.recipe.variables(path, home="/root" if self.has_home or self.recipe.user.partition(":")[0] in ("0", "root") else ""),
            user=self.recipe.user,
            workdir="/src",
            ports=(PORT,),
            healthcheck=(python, "-I", "-m", "lading.service.healthcheck"),
        )


def _done(pool: ThreadPoolExecutor, jobs: Sequence[_Job]) -> list[Layer]:
    """Do jobs, those with most work first, so that none comes last alone; their layers, in the order of the jobs. One that fails ends all."""
    tasks = {index: pool.submit(jobs[index].make) for index in sorted(range(len(jobs)), key=lambda index: -jobs[index].work)}
    try:
        over = wait(tasks.values(), return_when=FIRST_EXCEPTION).done
        for index in range(len(jobs)):
            if tasks[index] in over:
                tasks[index].result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return [tasks[index].result() for index in range(len(jobs))]


def _with_variables(api: Mapping[str, Any], variables: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    worker = api["worker"]
    return {**api, "worker": {**worker, "env": {**variables.get(worker["python"], {}), **worker["env"]}}}


def _announced(weights: WeightSet) -> dict[str, str]:
    """What Cog's own server reads of weights in an image."""
    return {"name": weights.name, "target": weights.target, "setDigest": weights.set_digest}


def _with_digest(file: Found) -> Found:
    """A large file with its hash, which its layer's name and the bill of materials need."""
    return with_digests([file])[0]


def _as_wheel(package: Package, path: Any) -> Wheel:
    sha256 = package.sha256 or path.parent.name
    return Wheel(path=path, sha256=sha256, name=package.name, version=str(package.version or ""), direct_url=package.direct_url)


def _wheel_key(wheel: Wheel) -> str:
    return f"{wheel.path.name} {wheel.sha256} {(wheel.direct_url or b'').decode()}"


def _modules_of(wheel: Wheel, store: Store) -> bool:
    """Whether a wheel has modules worth compiling; asked of its directory once."""
    key = fold_hashes(["modules", wheel.sha256])
    known = store.note("modules", key)
    if known is None:
        known = bool(wheel_sources([wheel], Place(prefix=VENV, python="3.11")))
        store.keep_note("modules", key, known)
    return bool(known)


def _clashes(environment: _Environment) -> list[tuple[str, list[str]]]:
    seen: dict[str, dict[str, tuple[int, int]]] = {}
    for name, wheel in sorted(environment.wheels.items()):
        with zipfile.ZipFile(wheel.path) as archive:
            for member in read_wheel(archive, wheel.path.name, environment.place).members:
                fact = (member.info.CRC, member.info.file_size) if member.info else (hash(member.content), len(member.content))
                seen.setdefault(member.path, {})[name] = fact
    return [(path, sorted(facts)) for path, facts in sorted(seen.items()) if len(facts) > 1 and len(set(facts.values())) > 1]


def _unique(layers: Sequence[Layer]) -> list[Layer]:
    seen: set[tuple[str, Kind]] = set()
    found = []
    for layer in layers:
        if (layer.descriptor.digest, layer.kind) not in seen:
            seen.add((layer.descriptor.digest, layer.kind))
            found.append(layer)
    return found


def _numbers(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))
