"""The two documents of an image: its configuration and its manifest; and the index of images for several platforms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lading.images.labels import inherited_labels
from lading.images.media import CONFIG, INDEX, MANIFEST, Descriptor, Image, Layer, canonical, digest_of
from lading.model.records import dataclass, field

CREATED = "1970-01-01T00:00:00Z"
"""When every image was made: a real time would make each build another image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a container of the image starts. ``healthcheck`` is a command (Docker reads it; others have their own probes)."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    ports: tuple[int, ...] = ()
    healthcheck: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"


def make_config(
    base: Mapping[str, Any], layers: Sequence[Layer], settings: Settings, labels: Mapping[str, str], platform: str, created: str = CREATED
) -> bytes:
    """The configuration: the base's own with ours over it. ``layers`` are all, the base's first."""
    system, _, architecture = platform.partition("/")
    inherited = dict(base.get("config") or {})
    env = _merge_env(inherited.get("Env") or (), settings.env)
    config = {
        **{key: inherited[key] for key in ("Volumes", "Shell") if inherited.get(key)},
        "User": settings.user,
        "Env": env,
        "Entrypoint": list(settings.entrypoint),
        "Cmd": list(settings.command),
        "WorkingDir": settings.workdir,
        "ExposedPorts": {f"{port}/tcp": {} for port in settings.ports},
        "Labels": {**inherited_labels(inherited.get("Labels") or {}), **labels},
        "StopSignal": settings.stop_signal,
        "Healthcheck": _healthcheck(settings.healthcheck),
    }
    record = {
        "architecture": architecture.partition("/")[0],
        **({"variant": architecture.partition("/")[2]} if "/" in architecture else {}),
        "os": system,
        "created": created,
        "config": {key: value for key, value in config.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [*_base_history(base, layers), *_history(layers, created)],
    }
    return canonical(record)


def _merge_env(base: Iterable[str], own: Mapping[str, str]) -> list[str]:
    merged = dict(pair.partition("=")[::2] for pair in base)
    # What a base says of its own Python would be wrong of ours.
    kept = {name: value for name, value in merged.items() if not name.startswith(("PYTHON_", "GPG_KEY"))}
    return [f"{name}={value}" for name, value in {**kept, **own}.items()]


def _healthcheck(command: tuple[str, ...]) -> dict[str, Any] | None:
    if not command:
        return None
    second = 1_000_000_000
    return {"Test": ["CMD", *command], "Interval": 10 * second, "Timeout": 5 * second, "StartPeriod": 600 * second, "Retries": 3}


def _base_history(base: Mapping[str, Any], layers: Sequence[Layer]) -> list[dict[str, Any]]:
    inherited = [dict(entry) for entry in base.get("history") or ()]
    count = sum(not entry.get("empty_layer") for entry in inherited)
    ours = sum(layer.kind == "base" for layer in layers)
    return inherited if count == ours else [{"created": CREATED, "created_by": "base"}] * ours


def _history(layers: Sequence[Layer], created: str) -> list[dict[str, Any]]:
    return [
        {"created": created, "created_by": f"lading build: {layer.kind}", "comment": layer.title}
        for layer in layers
        if layer.kind != "base"
    ]


def make_manifest(config: bytes, layers: Sequence[Layer], annotations: Mapping[str, str]) -> bytes:
    """The manifest of one image."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor(media_type=CONFIG, digest=digest_of(config), size=len(config)).as_json(),
            "layers": [layer.descriptor.as_json() for layer in layers],
            "annotations": dict(annotations),
        }
    )


def make_index(images: Sequence[Image]) -> bytes:
    """The index of images for several platforms."""
    return canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": [_platform_entry(image) for image in images]})


def _platform_entry(image: Image) -> dict[str, Any]:
    system, architecture, *variant = image.platform.split("/")
    platform = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    return {**image.descriptor.as_json(), "platform": platform}
