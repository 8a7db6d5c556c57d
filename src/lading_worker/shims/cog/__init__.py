"""The names that predictors import from ``cog`` (those of Cog 0.9 to 0.23), on the standard library alone.

What they do at run time is done here; what they declare (`Input`, types, decorators) is read from the source by ``lading.schema``.
"""

from ._worker import worker_module as _worker_module
from .coder import Coder
from .input import FieldInfo, Input
from .model import BaseModel
from .opaque import Opaque
from .predictor import BasePredictor, BaseRunner, concurrent, streaming
from .types import (
    AsyncConcatenateIterator,
    ConcatenateIterator,
    ExperimentalFeatureWarning,
    File,
    Path,
    Secret,
    URLFile,
    URLPath,
)

CancelationException = _worker_module("scope").CancelationException

__version__ = "0.23.1"
"""The Cog whose names these are."""


def current_scope():
    """The scope of the running prediction: ``metrics``, ``record_metric``, ``context``. Outside of one it ignores everything."""
    return _worker_module("scope").current()


def emit_metric(name, value):
    """Record a metric of the running prediction; Cog's older name of ``current_scope().record_metric``."""
    current_scope().record_metric(name, value)


__all__ = [
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "CancelationException",
    "Coder",
    "ConcatenateIterator",
    "ExperimentalFeatureWarning",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Secret",
    "URLFile",
    "URLPath",
    "__version__",
    "concurrent",
    "current_scope",
    "emit_metric",
    "streaming",
]
