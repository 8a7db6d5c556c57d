"""The server's own environment in an image: Lading and the few packages that serving needs, apart from the model's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lading
import lading_worker
from lading.images.folders import Found, digest_found, walk, write_found
from lading.images.layers import LayerWriter
from lading.images.media import Compression, Kind, Layer
from lading.images.store import Store
from lading.images.tar import LINK, Entry
from lading.images.wheels import Place
from lading.locks.lockfile import read, write
from lading.model.events import Reporter
from lading.model.files import content_hash, fold_hashes
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.project import ProjectKind
from lading.model.records import replace
from lading.model.requirements import Declared, Via
from lading.model.secrets import SecretText
from lading.model.target import Target
from lading.resolvers.uv import ResolveOptions, resolve

PREFIX = "opt/lading"
OLDEST = (3, 11)
"""The oldest Python that the server runs on (minor version)."""

_IMPORT = re.compile(rb"^ *(?:from|import) lading\.(\w+)", re.MULTILINE)

_PINS = Path(__file__).with_name("front.txt")
_GRPC = Path(__file__).with_name("front-grpc.txt")
_ENTRY = Origin("front.txt")


def needs_grpc(service: Mapping[str, Any]) -> bool:
    """Whether an API of a service (as JSON data) is called by gRPC."""
    return any((api["worker"].get("cortex") or {}).get("grpc") for api in service.get("apis", ()))


def pins(*, grpc: bool = False) -> dict[str, str]:
    """The server's packages and their versions; with those for ``grpc``."""
    lines = [line.strip() for file in (_PINS, _GRPC)[: 1 + grpc] for line in file.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def front_lock(plan: Plan, target: Target, root: Path, store: Store, reporter: Reporter, *, offline: bool, grpc: bool = False) -> Lock:
    """Where the server's packages are to be had on the project's indexes; asked once for each target.

    Raises:
        LadingError: if an index does not have them.
    """
    options = plan.options
    places = [str(url) for url in (options.index_url, *options.extra_index_urls, *options.find_links) if url]
    wanted = pins(grpc=grpc)
    key = fold_hashes([*(f"{name}=={version}" for name, version in wanted.items()), target.python, target.platform, *places])
    known = store.note("fronts", key)
    if known is not None:
        return read(known["lock"], "the server's lock", validate=False)
    try:
        made = resolve(_plan(plan, target, wanted), None, root, ResolveOptions(offline=offline), reporter)
    except LadingError as error:
        raise LadingError(_not_had(error)) from error
    store.keep_note("fronts", key, {"lock": write(made)})
    return made


def _plan(plan: Plan, target: Target, wanted: Mapping[str, str]) -> Plan:
    """The project's indexes, and nothing else of it."""
    requirements = tuple(
        Declared(raw=SecretText(f"{name}=={version}"), origin=_ENTRY, via=Via.INDEX, name=name, specifier=f"=={version}")
        for name, version in wanted.items()
    )
    options = replace(plan.options, pre=False, require_hashes=False, no_binary=(), only_binary=())
    return Plan(
        variant="", kind=ProjectKind.PLAIN, apis=(), target=target, sources=(), requirements=requirements, options=options, complete=True
    )


def _not_had(error: LadingError) -> Problem:
    first = error.problems[0]
    return Problem(
        rule="server-packages-missing",
        what="The packages of the server cannot be had: " + first.what[:1].lower() + first.what[1:],
        why=first.why,
        instead="Give an index that has them, for example with UV_DEFAULT_INDEX or PIP_EXTRA_INDEX_URL.",
        code=ExitCode.NETWORK if first.code is ExitCode.NETWORK else ExitCode.RESOLUTION,
        detail=first.detail,
    )


def own_code(place: Place) -> list[Found]:
    """Lading and its worker, from where they are installed."""
    worker = Path(str(lading_worker.__file__)).parent
    found = walk(worker, f"{place.site}/{lading_worker.__name__}", _kept)
    here = Path(str(lading.__file__)).parent
    # What the server imports, and what that imports: a change elsewhere in Lading changes no image.
    parts, waiting = set[str](), ["service"]
    while waiting:
        part = waiting.pop()
        if part not in parts and (here / part).is_dir():
            parts.add(part)
            for one in walk(here / part, f"{place.site}/{lading.__name__}/{part}", _kept):
                content = Path(one.source).read_bytes()
                if one.path.endswith(".py"):
                    waiting += [name.decode() for name in _IMPORT.findall(content)]
                found.append(replace(one, size=len(content), sha256=content_hash(content)))
    init = here / "__init__.py"
    found.append(Found(path=f"{place.site}/{lading.__name__}/{init.name}", source=str(init), size=init.stat().st_size))
    return sorted(found, key=lambda one: one.path.encode())


def _kept(path: str, is_folder: bool) -> bool:  # noqa: ARG001, FBT001 -- as `walk` asks
    """No caches."""
    return not path.endswith((".pyc", "__pycache__"))


def skeleton(prefix: str, interpreter: str, version: str) -> Mapping[str, tuple[str, bytes]]:
    """A virtual environment without packages: path -> (link's target, or empty; content).

    ``interpreter`` is the program's absolute path in the image, ``version`` its full version.
    """
    minor = ".".join(version.split(".")[:2])
    home = interpreter.rpartition("/")[0]
    config = f"home = {home}\nimplementation = CPython\nversion = {version}\ninclude-system-site-packages = false\n"
    return {
        f"{prefix}/bin/python": (interpreter, b""),
        f"{prefix}/bin/python3": ("python", b""),
        f"{prefix}/bin/python{minor}": ("python", b""),
        f"{prefix}/pyvenv.cfg": ("", config.encode()),
    }


def write_files(writer: LayerWriter, files: Mapping[str, tuple[str, bytes]]) -> None:
    """Links and small files, sorted."""
    for path, (target, content) in sorted(files.items(), key=lambda item: item[0].encode()):
        if target:
            writer.entry(Entry(path=path, kind=LINK, target=target, mode=0o777))
        else:
            writer.file(Entry(path=path, size=len(content)), content)


def code_layer(store: Store, found: list[Found], compression: Compression) -> Layer:
    """Lading's own code as a layer.

    Raises:
        LadingError: if the store cannot be written.
    """
    title = f"lading {lading.__version__}"
    return store.layer(Kind.FRONT, title, ["folder", *digest_found(found)], compression, lambda writer: write_found(writer, found))
