"""What Cortex's configuration says of an API beside its predictor: the kind, the models, the batches, the shares of traffic."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from lading.model.origin import Origin
from lading.model.records import dataclass


class ApiKind(StrEnum):
    """The kinds of API that run a predictor; a TrafficSplitter runs none (see `Splitter`)."""

    REALTIME = "RealtimeAPI"
    BATCH = "BatchAPI"
    ASYNC = "AsyncAPI"
    TASK = "TaskAPI"


class PredictorType(StrEnum):
    """Which client of models a predictor gets: none (or Cortex's ``python_client``), TensorFlow's, ONNX Runtime's."""

    PYTHON = "python"
    TENSORFLOW = "tensorflow"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model of ``models.paths``."""

    name: str
    path: str
    signature_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """``models`` or ``multi_model_reloading``: exactly one of ``path``, ``paths`` and ``folder`` (Cortex's ``dir``) is set.

    ``cache_size`` is how many models are held in memory, ``disk_cache_size`` how many on disk; both None means all.
    """

    path: str | None = None
    paths: tuple[ModelEntry, ...] = ()
    folder: str | None = None
    signature_key: str | None = None
    cache_size: int | None = None
    disk_cache_size: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What the worker is told; its own record has the same keys as Cortex's configuration."""
        return {
            "path": self.path,
            "paths": [{"name": one.name, "path": one.path, "signature_key": one.signature_key} for one in self.paths],
            "dir": self.folder,
            "signature_key": self.signature_key,
            "cache_size": self.cache_size,
            "disk_cache_size": self.disk_cache_size,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """``server_side_batching``: how many requests make a batch, and how many seconds it waits for them."""

    max_size: int
    interval: float

    def as_json(self) -> dict[str, Any]:
        """What the worker is told, in Lading's own words."""
        return {"max_batch_size": self.max_size, "max_latency": self.interval}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One ``rpc`` of a service. ``takes_stream`` and ``gives_stream``: it is called with a stream of messages, answers with one."""

    name: str
    takes_stream: bool = False
    gives_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpc:
    """``protobuf_path``: the API is called by gRPC. ``path`` is the ``.proto`` file, ``service`` its service's full name."""

    path: str
    service: str
    methods: tuple[Method, ...]

    def as_json(self) -> dict[str, Any]:
        """What the server and the worker are told; what ``protoc`` makes of the file joins it when the API is served."""
        methods = {one.name: {"takes_stream": one.takes_stream, "gives_stream": one.gives_stream} for one in self.methods}
        return {"path": self.path, "service": self.service, "methods": methods}


@dataclass(frozen=True, slots=True, kw_only=True)
class CortexSettings:
    """What Cortex's APIs have and others have not. ``reloading``: the models are those of ``multi_model_reloading``."""

    kind: ApiKind = ApiKind.REALTIME
    type: PredictorType = PredictorType.PYTHON
    models: Models | None = None
    reloading: bool = False
    batching: Batching | None = None
    grpc: Grpc | None = None

    def as_json(self) -> dict[str, Any]:
        """What the worker is told."""
        return {
            "kind": str(self.kind),
            "type": str(self.type),
            "models": self.models.as_json() if self.models else None,
            "reloading": self.reloading,
            # Python predictors get batches themselves; with TensorFlow the client makes them, behind predictors that see one request.
            "batching": self.batching.as_json() if self.batching and self.type is PredictorType.PYTHON else None,
            "model_batching": self.batching.as_json() if self.batching and self.type is PredictorType.TENSORFLOW else None,
            "grpc": self.grpc.as_json() if self.grpc else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One target of a TrafficSplitter. A ``shadow`` gets a copy of ``weight`` percent of the requests; its answers are dropped."""

    name: str
    weight: int
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitter:
    """A TrafficSplitter: the weights of its shares that are no shadow add up to 100."""

    name: str
    endpoint: str
    shares: tuple[Share, ...]
    origin: Origin


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A job's ``config`` over its API's, map by map: ``{a: {x, y}}`` and ``{a: {y}}`` keep ``x``, as in Cortex."""
    result = dict(base)
    for key, value in over.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result
