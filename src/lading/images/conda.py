"""Conda's packages as a layer: a prefix linked as if it lay at its place in the image, and what activating it sets."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lading.environments.activation import activation
from lading.environments.link_scripts import find_scripts
from lading.environments.prefix_link import Linking, link_packages
from lading.environments.prefix_progress import Progress
from lading.images.bytecode import compile_sources, file_sources
from lading.images.folders import walk, write_found
from lading.images.layers import LayerWriter
from lading.images.media import Compression, Kind, Layer
from lading.images.store import Store, layer_key
from lading.images.tar import Entry
from lading.images.wheels import Place
from lading.model.conda import CondaLock
from lading.model.decisions import Decision
from lading.model.decisions import Kind as DecisionKind
from lading.model.events import Event, Phase, Reporter
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.records import dataclass
from lading.resolvers.conda_client import require_rattler

STEP = "Linking conda packages"
_OF_MACHINE = ("extracted_package_dir", "package_tarball_full_path", "link")
"""What conda's records say of the machine that linked a package, beside the package itself."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The layers of a prefix, the variables that activating it sets, and what was decided about those."""

    layers: tuple[Layer, ...]
    variables: Mapping[str, str]
    decisions: tuple[Decision, ...] = ()


def prefix_layers(
    conda: CondaLock, plan: Plan, place: Place, root: Path, store: Store, compression: Compression, reporter: Reporter, *, bytecode: bool
) -> Prefix:
    """The prefix of a lock as a layer, and its bytecode as another.

    Raises:
        LadingError: if py-rattler is not installed, or a package cannot be had.
    """
    packages = sorted(f"{one.subdir}/{one.file_name} {one.sha256 or one.md5}" for one in conda.packages)
    title = f"conda: {len(packages)} packages"
    inputs = ["conda", place.key(), *packages]
    keys = [(Kind.PACKAGES, title, inputs)]
    if bytecode:
        keys.append((Kind.BYTECODE, title, ["conda bytecode", *inputs]))
    note = layer_key(inputs, compression)
    known = [store.known(kind, name, layer_key(parts, compression)) for kind, name, parts in keys]
    variables, scripts = store.note("activations", note), store.note("link-scripts", note)
    if variables is None or scripts is None or None in known:
        require_rattler(Origin(plan.lock_path))
        reporter(Event(step=STEP, phase=Phase.STARTED, message=title))
        with tempfile.TemporaryDirectory(prefix="lading-conda-") as folder:
            linked = Path(folder) / "prefix"
            linking = Linking(conda, plan, root, linked, Path("/") / place.prefix)
            link_packages(linking, Progress(reporter, len(packages), lambda: None, step=STEP))
            scripts = [one.package.name for one in find_scripts(linked, Path("/") / place.prefix, conda, plan.lock_path)]
            _settle(linked)
            variables = _activated(linked, place)
            known = [store.layer(kind, name, parts, compression, _Write(kind, linked, place)) for kind, name, parts in keys]
        store.keep_note("activations", note, variables)
        store.keep_note("link-scripts", note, scripts)
        reporter(Event(step=STEP, phase=Phase.FINISHED, message=title))
    own, decisions = _declared(plan)
    layers = tuple(layer for layer in known if layer is not None)
    return Prefix(layers, {**variables, **own}, (*decisions, *([_not_run(scripts)] if scripts else [])))


def _settle(linked: Path) -> None:
    """Take away what says when and where the prefix was linked; bytecode is made again, as it names its source's time."""
    for record in (linked / "conda-meta").glob("*.json"):
        facts = {name: value for name, value in json.loads(record.read_bytes()).items() if name not in _OF_MACHINE}
        record.unlink()  # it may be a hard link
        record.write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
    (linked / "conda-meta" / "history").unlink(missing_ok=True)
    for path in linked.rglob("*.pyc"):
        path.unlink()


def _activated(linked: Path, place: Place) -> dict[str, str]:
    """The variables that conda's activation sets, by running the packages' scripts on this machine, with the image's paths."""
    found = activation(str(linked), {"PATH": _PATH}).variables
    moved = {name: value.replace(str(linked), f"/{place.prefix}") for name, value in found.items()}
    return {name: value for name, value in sorted(moved.items()) if name != "_"}


class _Write:
    """Writes one of the two layers."""

    def __init__(self, kind: Kind, linked: Path, place: Place) -> None:
        self.kind, self.linked, self.place = kind, linked, place

    def __call__(self, writer: LayerWriter) -> None:
        found = walk(self.linked, self.place.prefix, lambda path, folder: not folder or not path.endswith("__pycache__"))
        if self.kind is Kind.PACKAGES:
            write_found(writer, found)
            return
        python = str(self.linked / "bin" / f"python{self.place.python}")
        library = f"{self.place.prefix}/lib/python{self.place.python}"
        compiled = compile_sources(python, file_sources(found, library))
        for path, data in sorted(compiled.items(), key=lambda item: os.fsencode(item[0])):
            writer.file(Entry(path=path, size=len(data)), data)


def _declared(plan: Plan) -> tuple[dict[str, str], tuple[Decision, ...]]:
    """The environment's own variables; those whose names say that they are secret are given when the container starts."""
    variables = plan.conda.variables if plan.conda else ()
    hidden = set(plan.conda.secrets() if plan.conda else ())
    kept = {name: value.reveal() for name, value in variables if value not in hidden}
    return kept, tuple(_left_out(name) for name, value in variables if value in hidden)


def _not_run(names: list[str]) -> Decision:
    return Decision(
        rule="conda-scripts-not-in-image",
        kind=DecisionKind.ADVICE,
        subject="conda",
        asked=f"the post-link {'script' if len(names) == 1 else 'scripts'} of {', '.join(names)}",
        chose="not run",
        because="they run in a prefix that lies at its place, and nothing of an image is run while its conda packages are linked",
        instead="what they do as commands of the build, or versions of the packages without them",
    )


def _left_out(name: str) -> Decision:
    return Decision(
        rule="secret-variable-left-out",
        kind=DecisionKind.CHOSEN,
        subject=name,
        asked=name,
        chose="not in the image",
        because="its name says that its value is secret, and everybody who gets an image can read its configuration",
        instead=f"give it when the container starts: -e {name}=...",
    )
