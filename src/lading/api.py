"""Lading from Python: the verbs of the command line as functions, from a folder to an image.

::

    from lading import Options, build_image, create_environment, lock, plan, read, serve

    options = Options(directory=Path("my-model"))
    project = read(options)
    locked = lock(plan(project, options), project, options)
    serve(create_environment(locked, project, options))

`read`, `plan` and `lock` are those of `lading.pipeline`. Nothing here prints; give a ``reporter`` to follow the work. What the user must
change arrives as a `LadingError` with every `Problem` found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading import imaging, pipeline
from lading.model.events import Reporter, silent
from lading.model.records import replace

if TYPE_CHECKING:
    from lading.images.build import Built

__all__ = ["build_image", "create_environment", "serve"]


def create_environment(
    locked: tuple[pipeline.Locked, ...], project: pipeline.Project, options: pipeline.Options, reporter: Reporter = silent
) -> pipeline.Ready:
    """Make sure that the store has every environment of the project; as ``lading install``.

    Scripts of the project (``dependencies.sh``, ``postBuild``) do not run; those of conda packages run if they were allowed before.

    Raises:
        LadingError: if an environment cannot be built; the store is then as it was.
    """
    installed = pipeline.install(locked, project, options, reporter)
    return pipeline.remember(options, project, installed)


def serve(ready: pipeline.Ready, *, host: str = "127.0.0.1", port: int = 5000, reporter: Reporter = silent, **limits: object) -> int:
    """Serve the project's APIs until SIGTERM, SIGINT or ``POST /shutdown``, and return the exit status; as ``lading serve``.

    Needs the main thread. ``port`` 0 takes a free one, which the reporter is told. ``limits`` are fields of `ServiceSpec`, such as
    ``setup_timeout`` in seconds and ``max_body_bytes``.

    Raises:
        LadingError: if the project names no predictor, a signature cannot be read, or the port is taken.
    """
    from lading.environments.claims import hold  # noqa: PLC0415 -- serving loads much that reading and locking never need
    from lading.service.server import serve as serve_spec  # noqa: PLC0415

    spec = pipeline.describe_service(ready, host=host, port=port, **limits)
    with hold(*ready.environments.values()):
        return serve_spec(spec, reporter)


def build_image(
    locked: tuple[pipeline.Locked, ...],
    project: pipeline.Project,
    options: pipeline.Options,
    asked: imaging.BuildOptions,
    reporter: Reporter = silent,
) -> Built:
    """Build the project's image and name it in Lading's own store; as ``lading build``.

    Raises:
        LadingError: if the image cannot be built; no name then points to anything new.
    """
    with imaging.in_use():
        if not asked.weights:
            asked = replace(asked, weights=imaging.prepare_weights(project, options, reporter)[0])
        built = imaging.build(imaging.make_recipe(locked, project, options, asked), reporter=reporter)
        target, place = imaging.destination(None, asked.name, reporter)
        target.publish((built.image,), place)
    return built
