"""Lading: from a machine-learning project's folder to an environment, a service, an image, a deployment."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant, without importing typing: `lading install` with nothing to do must stay quick
if TYPE_CHECKING:
    from lading.api import build_image as build_image
    from lading.api import create_environment as create_environment
    from lading.api import deploy as deploy
    from lading.api import serve as serve
    from lading.deploy.engine import Place as Place
    from lading.imaging import BuildOptions as BuildOptions
    from lading.model.problems import LadingError as LadingError
    from lading.pipeline import Options as Options
    from lading.pipeline import lock as lock
    from lading.pipeline import plan as plan
    from lading.pipeline import read as read
    from lading_worker.batched import batched as batched

__version__ = "0.1.0"

_HOMES = {
    "BuildOptions": "lading.imaging",
    "LadingError": "lading.model.problems",
    "Options": "lading.pipeline",
    "Place": "lading.deploy.engine",
    "batched": "lading_worker.batched",
    "build_image": "lading.api",
    "create_environment": "lading.api",
    "deploy": "lading.deploy",
    "lock": "lading.pipeline",
    "plan": "lading.pipeline",
    "read": "lading.pipeline",
    "serve": "lading.api",
}
"""The public names, and the modules they are loaded from when they are asked for: the command line starts without them."""


def __getattr__(name: str) -> object:
    """Load a public name where it is asked for. ``batched`` is the same as in a predictor that Lading serves."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 -- only who asks for a name

    home = import_module(_HOMES[name])
    return home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
