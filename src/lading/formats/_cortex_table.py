"""Every field of ``cortex.yaml`` in one table (pkg/types/spec/validations.go of Cortex 0.32.0).

What is known, the documentation and the JSON Schema for editors come from here; the checks that need more than one field are code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from lading.model.records import dataclass

KINDS = ("RealtimeAPI", "BatchAPI", "TrafficSplitter", "TaskAPI", "AsyncAPI")
TYPES = ("python", "tensorflow", "onnx")
LOG_LEVELS = ("debug", "info", "warning", "error")
LONGEST_NAME = 42

_TEXT = {"type": "string", "minLength": 1}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_MAP = {"type": ["object", "null"]}
_QUANTITY = {"type": ["string", "number", "null"]}
_DURATION = {"type": "string", "pattern": r"^([0-9.]+(ns|us|µs|ms|s|m|h))+$"}
_RELATIVE = {"type": ["string", "integer"]}


def _whole(least: int | None = None, most: int | None = None) -> dict[str, Any]:
    bounds = {"minimum": least, "maximum": most}
    return {"type": "integer", **{key: value for key, value in bounds.items() if value is not None}}


def _one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


@dataclass(frozen=True, slots=True)
class Field:
    """One key: its default in words (``required`` where there is none), the rule that its value keeps, and its JSON Schema.

    ``only`` names the kinds or types of API that have it; ``section`` the table of its own keys, ``many`` that it is a list of such maps.
    """

    key: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    default: str = ""
    rule: str = ""
    only: str = ""
    section: str = ""
    many: bool = False


_RUNS = (
    Field("python_path", _TEXT_OR_NULL, "null", "a folder in the project that is put on the import path; not the project's own folder"),
    Field("image", _TEXT, "", "noted, and not used: the environment is built from what is declared"),
    Field("log_level", _one_of(*LOG_LEVELS), "info", "the level of `cortex_internal.lib.log`"),
    Field("config", _MAP, "{}", "given to `__init__` (to `__call__` of a task); keys are texts"),
    Field(
        "env",
        {"type": ["object", "null"], "additionalProperties": {"type": "string"}, "propertyNames": {"not": {"pattern": "^CORTEX_"}}},
        "{}",
        "texts; names that begin with `CORTEX_` are reserved",
    ),
    Field("dependencies", section="dependencies"),
)
_MODELS = (
    Field("path", _TEXT, "", "one model: a file or a folder; `s3://`, `gs://`, `https://`, `file://`, or a path in the project"),
    Field("paths", default="", rule="several models by name", section="paths", many=True),
    Field("dir", _TEXT, "", "a folder with one folder for each model"),
    Field("signature_key", _TEXT_OR_NULL, "null", "the SavedModel's signature", "tensorflow"),
    Field("cache_size", _whole(1), "", "models held in memory; with `disk_cache_size` or not at all, and not above it", "RealtimeAPI"),
    Field("disk_cache_size", _whole(1), "", "models held on disk", "RealtimeAPI"),
)

SECTIONS: Mapping[str, tuple[Field, ...]] = {
    "": (
        Field(
            "name",
            {"type": "string", "pattern": r"^(?!b-)[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": LONGEST_NAME},
            "required",
            "lower case letters, digits and dashes; begins with a letter, not with `b-`; at most 42 characters; used once",
        ),
        Field("kind", _one_of(*KINDS), "required"),
        Field("predictor", default="required", only="RealtimeAPI, AsyncAPI, BatchAPI", section="predictor"),
        Field("handler", rule="`predictor` as Cortex 0.34 and 0.35 call it; its class is `Handler`", section="predictor"),
        Field("definition", default="required", only="TaskAPI", section="definition"),
        Field("apis", default="required", only="TrafficSplitter", section="apis", many=True),
        Field("networking", section="networking"),
        Field("compute", only="all but TrafficSplitter", section="compute"),
        Field("autoscaling", only="RealtimeAPI, AsyncAPI", section="autoscaling"),
        Field("update_strategy", only="RealtimeAPI, AsyncAPI", section="update_strategy"),
    ),
    "predictor": (
        Field("type", _one_of(*TYPES), "required"),
        Field("path", {"type": "string", "pattern": r"\.py$"}, "required", "a Python file of the project"),
        Field(
            "protobuf_path",
            _TEXT_OR_NULL,
            "null",
            "a `.proto` file of one service with one method, `Predict`, whose package is the API's name; gRPC",
            "RealtimeAPI",
        ),
        *_RUNS,
        Field("tensorflow_serving_image", _TEXT, "", "noted, and not used", "tensorflow"),
        Field("processes_per_replica", _whole(1, 100), "1", "1 for BatchAPI and AsyncAPI"),
        Field("threads_per_process", _whole(1), "1", "1 for BatchAPI and AsyncAPI"),
        Field("shm_size", _QUANTITY, "null", "not above `compute.mem`; on one machine its `/dev/shm` is used, and told if it is smaller"),
        Field("models", default="", rule="required, and for these types alone", only="tensorflow, onnx", section="models"),
        Field("multi_model_reloading", only="python, RealtimeAPI", section="models"),
        Field("server_side_batching", only="python, tensorflow, RealtimeAPI", section="server_side_batching"),
    ),
    "definition": (Field("path", _TEXT, "required", "a Python file of the project"), *_RUNS),
    "dependencies": (
        Field("pip", _TEXT, "requirements.txt", "relative to the configuration's folder; a file that is named must be there"),
        Field("conda", _TEXT, "conda-packages.txt", "as `pip`"),
        Field("shell", _TEXT, "dependencies.sh", "as `pip`"),
    ),
    "models": _MODELS,
    "paths": (
        Field("name", {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}, "required", "letters, digits, `_` and `-`; not `_cortex_default`"),
        Field("path", _TEXT, "required"),
        Field("signature_key", _TEXT_OR_NULL, "null", "", "tensorflow"),
    ),
    "server_side_batching": (
        Field("max_batch_size", _whole(2, 1024), "required", "python: the same as `threads_per_process`; else at most processes * threads"),
        Field("batch_interval", _DURATION, "required", "above 0"),
    ),
    "apis": (
        Field("name", _TEXT, "required", "a RealtimeAPI of the same file; each once"),
        Field("weight", _whole(0, 100), "required", "those of all that are no shadow add up to 100"),
        Field("shadow", {"type": "boolean"}, "false", "gets copies, its answers are dropped; one at most"),
    ),
    "networking": (Field("endpoint", {"type": "string", "maxLength": 1000}, "/<name>", "a path without `//`, not `/` alone; used once"),),
    "compute": (
        Field("cpu", _QUANTITY, "200m", "at least 20m; on one machine a limit, where it is written"),
        Field("mem", _QUANTITY, "null", "at least 20Mi; on one machine a limit, where it is written"),
        Field("gpu", _whole(0), "0", "builds for a GPU are chosen where there is one, and the API sees so many; not together with `inf`"),
        Field("inf", _whole(0, 1), "0"),
    ),
    "autoscaling": (
        Field("min_replicas", _whole(1), "1"),
        Field("max_replicas", _whole(1), "100", "not below `min_replicas`"),
        Field("init_replicas", _whole(1), "min_replicas"),
        Field("max_replica_concurrency", _whole(1, 30000), "1024"),
        Field("target_replica_concurrency", {"type": "number", "exclusiveMinimum": 0}, "processes * threads"),
        Field("window", _DURATION, "60s", "a multiple of 10s"),
        Field("downscale_stabilization_period", _DURATION, "5m"),
        Field("upscale_stabilization_period", _DURATION, "1m"),
        Field("max_downscale_factor", {"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "0.75"),
        Field("max_upscale_factor", {"type": "number", "exclusiveMinimum": 1}, "1.5"),
        Field("downscale_tolerance", {"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "0.05"),
        Field("upscale_tolerance", {"type": "number", "minimum": 0}, "0.05"),
    ),
    "update_strategy": (
        Field("max_surge", _RELATIVE, '"25%"', "a whole number or 0% to 100%; not zero together with `max_unavailable`"),
        Field("max_unavailable", _RELATIVE, '"25%"', "as `max_surge`"),
    ),
}


def keys(section: str) -> tuple[str, ...]:
    """The keys of a section."""
    return tuple(one.key for one in SECTIONS[section])


ALLOWED = {
    "RealtimeAPI": ("name", "kind", "predictor", "networking", "compute", "autoscaling", "update_strategy"),
    "AsyncAPI": ("name", "kind", "predictor", "networking", "compute", "autoscaling", "update_strategy"),
    "BatchAPI": ("name", "kind", "predictor", "networking", "compute"),
    "TaskAPI": ("name", "kind", "definition", "networking", "compute"),
    "TrafficSplitter": ("name", "kind", "apis", "networking"),
}
"""The sections of each kind."""


def json_schema() -> dict[str, Any]:
    """The configuration as a JSON Schema, for editors."""
    kinds = [{"if": {"properties": {"kind": {"const": kind}}}, "then": _only(kind)} for kind in KINDS]
    api = {**_object("", required=("name", "kind")), "allOf": kinds}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cortex.yaml",
        "description": "The APIs of a Cortex project, 0.30 to 0.35.",
        "type": "array",
        "minItems": 1,
        "items": api,
    }


def _only(kind: str) -> dict[str, Any]:
    allowed = ALLOWED[kind]
    main = next(key for key in ("predictor", "definition", "apis") if key in allowed)
    refused = [one.key for one in SECTIONS[""] if one.key not in allowed and not (one.key == "handler" and main == "predictor")]
    needed: dict[str, Any] = {"required": [main]} if main != "predictor" else {"oneOf": [{"required": [main]}, {"required": ["handler"]}]}
    return {**needed, "properties": dict.fromkeys(refused, False)}


def _object(section: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    fields = SECTIONS[section]
    needed = required or tuple(one.key for one in fields if one.default == "required" and not one.only)
    made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {one.key: _schema(one) for one in fields}}
    return {**made, "required": list(needed)} if needed else made


def _schema(one: Field) -> dict[str, Any]:
    if one.section:
        inner = _object(one.section)
        made: dict[str, Any] = {"type": "array", "items": inner, "minItems": 1} if one.many else inner
    else:
        made = dict(one.schema)
    said = ". ".join(
        part for part in (one.rule, f"Only: {one.only}" if one.only else "", f"Default: {one.default}" if one.default else "") if part
    )
    return {**made, "description": said} if said else made
