"""``models``, ``multi_model_reloading``, ``server_side_batching`` and ``apis`` of a Cortex API, checked in Cortex's words."""

from __future__ import annotations

import re

from lading.formats._cortex_fields import Fields
from lading.formats._cortex_table import keys
from lading.formats._yaml import Entry, Map, Scalar, Sequence, kind_of, shortened
from lading.model.cortex import ApiKind, Batching, ModelEntry, Models, PredictorType, Share
from lading.model.records import replace

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_SCHEMES = ("s3://", "gs://", "gcs://", "https://", "http://", "file://")
_RESERVED = "_cortex_default"
_OLD_PATHS = ("model_path", "model")
_WAYS = ("path", "paths", "dir")


def maps(fields: Fields, key: str, example: str) -> list[Fields] | None:
    """The maps of a list that must not be empty; None where there is no such list."""
    entry = fields.node.get(key)
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
        what = "must be defined" if entry is None else "cannot be null (specify a value, or remove the key to use the default value)"
        fields.problem(what, fields.line(key), f"Write {key}: and below it {example}.", key=key)
        return None
    if not isinstance(entry.value, Sequence):
        fields.problem(f"invalid type (expected a list, got {kind_of(entry.value)})", entry.value.line, f"Write {example}.", key=key)
        return None
    if not entry.value.items:
        fields.problem("cannot be empty", entry.line, f"Write {example}.", key=key)
        return None
    return [one for index, item in enumerate(entry.value.items) if (one := _map(fields, key, index, item, example)) is not None]


def _map(fields: Fields, key: str, index: int, item: object, example: str) -> Fields | None:
    if isinstance(item, Map):
        return replace(fields, node=item, where=f"{fields.where}: {key}: index {index}")
    assert isinstance(item, Scalar | Sequence)
    fields.problem(f"index {index}: invalid type (expected a map, got {kind_of(item)})", item.line, f"Write {example}.", key=key)
    return None


def read_models(predictor: Fields, key: str, kind: ApiKind, type_: PredictorType, processes: int) -> Models | None:
    """``models`` or ``multi_model_reloading``; None where it is absent or wrong, and a problem was kept."""
    entry = predictor.node.get(key)
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
        return None
    if isinstance(entry.value, Sequence) and key == "models":
        return Models(paths=_entries(predictor, key, type_))
    section = predictor.section(key)
    if section is None:
        return None
    section.known(keys("models"))
    _exactly_one(section)
    if type_ is not PredictorType.TENSORFLOW and section.node.get("signature_key"):
        _tensorflow_only(section)
    memory, disk = _cache(section, kind, processes)
    return Models(
        path=_location(section, "path") if section.node.get("path") else None,
        paths=_entries(section, "paths", type_) if section.node.get("paths") else (),
        folder=_location(section, "dir") if section.node.get("dir") else None,
        signature_key=section.text("signature_key", null=True),
        cache_size=memory,
        disk_cache_size=disk,
    )


def _exactly_one(section: Fields) -> None:
    given = [key for key in _WAYS if section.node.get(key)]
    if len(given) != 1:
        found = f"found {', '.join(given)}" if given else "found none"
        message = f'exactly one of "path", "paths" and "dir" must be specified ({found})'
        section.problem(message, section.node.line, "Write path: for one model, paths: for several, dir: for a folder of models.")


def _tensorflow_only(section: Fields) -> None:
    message = "signature_key is only supported by the tensorflow predictor type"
    section.problem(message, section.line("signature_key"), "Remove signature_key.")


def _entries(section: Fields, key: str, type_: PredictorType) -> tuple[ModelEntry, ...]:
    """Models with names. Cortex 0.21 and older called an entry's ``path`` ``model_path``."""
    found: list[ModelEntry] = []
    for one in maps(section, key, "- name: my-model, with path: below") or ():
        one.known(keys("paths"), old=_OLD_PATHS if key == "models" else ())
        old = next((name for name in _OLD_PATHS if key == "models" and one.node.get(name)), "path")
        name, path = _model_name(one, [entry.name for entry in found]), _location(one, old)
        if type_ is not PredictorType.TENSORFLOW and one.node.get("signature_key"):
            _tensorflow_only(one)
        signature = one.text("signature_key", null=True)
        if name and path:
            found.append(ModelEntry(name=name, path=path, signature_key=signature))
    return tuple(found)


def _model_name(one: Fields, earlier: list[str]) -> str | None:
    name = one.text("name", required=True)
    if name is None:
        return None
    line = one.line("name")
    if not _NAME.fullmatch(name):
        message = f'"{shortened(name)}" must contain only letters, numbers, underscores, and dashes'
        one.problem(message, line, "Write, for example, my-model.", key="name")
    elif name == _RESERVED:
        one.problem(f'"{name}" is a reserved name', line, "Choose another name.", key="name")
    elif name in earlier:
        one.problem(f'the name "{name}" is used by two models', line, "Change one of them.", key="name")
    else:
        return name
    return None


def _location(section: Fields, key: str) -> str | None:
    """Where models are: an address that fsspec knows, or a path in the project."""
    written = section.text(key, required=True)
    if written is None:
        return None
    if _SCHEME.match(written) and not written.startswith(_SCHEMES):
        instead = f"Write an address that begins with {', '.join(_SCHEMES)}, or a path in the project."
        section.problem(f'"{shortened(written)}" is not a supported location', section.line(key), instead, key=key)
        return None
    return written


def _cache(section: Fields, kind: ApiKind, processes: int) -> tuple[int | None, int | None]:
    entries = {key: section.node.get(key) for key in ("cache_size", "disk_cache_size")}
    given = {key: section.integer(key, 1, least=1) for key, entry in entries.items() if entry}
    if not given:
        return None, None
    first: Entry = next(entry for entry in entries.values() if entry)
    if kind is not ApiKind.REALTIME:
        section.problem("model caching is only supported for RealtimeAPI", first.line, "Remove cache_size and disk_cache_size.")
    if len(given) == 1:
        missing = next(key for key in entries if key not in given)
        section.problem(f"must be defined, as {first.key} is", first.line, f"Add {missing}:.", key=missing)
        return None, None
    if given["cache_size"] > given["disk_cache_size"]:
        message = f"cache_size ({given['cache_size']}) cannot exceed disk_cache_size ({given['disk_cache_size']})"
        section.problem(message, first.line, "Lower cache_size, or raise disk_cache_size.")
    if processes > 1:
        section.problem("processes_per_replica must be 1 with model caching", first.line, "Write processes_per_replica: 1.")
    return given["cache_size"], given["disk_cache_size"]


def read_batching(predictor: Fields, kind: ApiKind, type_: PredictorType, processes: int, threads: int) -> Batching | None:
    """``server_side_batching``; None where it is absent or wrong, and a problem was kept."""
    key = "server_side_batching"
    entry = predictor.node.get(key)
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
        return None
    section = predictor.section(key)
    if section is None:
        return None
    section.known(keys(key))
    if kind is not ApiKind.REALTIME:
        predictor.problem(f"{key} is only supported for RealtimeAPI", entry.line, f"Remove {key}.", key=key)
    if type_ is PredictorType.ONNX:
        predictor.problem(f"{key} is not a supported field for the onnx predictor type", entry.line, f"Remove {key}.", key=key)
    for needed, example in (("max_batch_size", "8"), ("batch_interval", "0.1s")):
        if not section.node.get(needed):
            section.problem("must be defined", section.node.line, f"Add {needed}: {example}.", key=needed)
    size = section.integer("max_batch_size", 2, least=2, most=1024)
    interval = section.duration("batch_interval", 0.1)
    if section.node.get("batch_interval") and interval <= 0:
        message = f"must be greater than 0 (got {section.written('batch_interval')})"
        section.problem(message, section.line("batch_interval"), "Write batch_interval: 0.1s.", key="batch_interval")
    _fits(predictor, entry.line, size, type_, processes=processes, threads=threads)
    return Batching(max_size=size, interval=interval)


def _fits(predictor: Fields, line: int, size: int, type_: PredictorType, *, processes: int, threads: int) -> None:
    if type_ is PredictorType.PYTHON and size != threads:
        message = (
            f"threads_per_process ({threads}) must be equal to max_batch_size ({size}) "
            "when using server side batching with the python predictor"
        )
        predictor.problem(message, line, f"Write threads_per_process: {size}.")
    elif type_ is PredictorType.TENSORFLOW and size > processes * threads:
        message = f"max_batch_size ({size}) cannot exceed processes_per_replica * threads_per_process ({processes * threads})"
        predictor.problem(message, line, f"Write threads_per_process: {size}, or lower max_batch_size.")


def read_shares(fields: Fields) -> tuple[Share, ...]:
    """``apis`` of a TrafficSplitter."""
    shares: list[Share] = []
    for one in maps(fields, "apis", "- name: my-api, with weight: below") or ():
        one.known(keys("apis"))
        name = one.text("name", required=True)
        if not one.node.get("weight"):
            one.problem("must be defined", one.node.line, "Add weight: 50.", key="weight")
        weight, shadow = one.integer("weight", 0, least=0, most=100), one.flag("shadow")
        if name and name in [share.name for share in shares]:
            one.problem(f'the api "{shortened(name)}" is named twice', one.line("name"), "Remove one of them, or add the weights.")
        elif name:
            shares.append(Share(name=name, weight=weight, shadow=shadow))
    _weights(fields, shares)
    return tuple(shares)


def _weights(fields: Fields, shares: list[Share]) -> None:
    line = fields.line("apis")
    total = sum(share.weight for share in shares if not share.shadow)
    if shares and total != 100:
        message = f"expected weights of all non-shadow apis to sum to 100 but found {total}"
        fields.problem(message, line, "Change the weights so that they add up to 100.", key="apis")
    if sum(share.shadow for share in shares) > 1:
        fields.problem("only one api can be a shadow", line, "Remove shadow: true from the others.", key="apis")
