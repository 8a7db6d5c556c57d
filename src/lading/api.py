"""Lading from Python: the verbs of the command line as functions, from a folder to an image.

::

    from lading import Options, Place, build_image, create_environment, deploy, lock, plan, read, serve

    options = Options(directory=Path("my-model"))
    project = read(options)
    locked = lock(plan(project, options), project, options)
    serve(create_environment(locked, project, options))
    deploy(locked, project, options, Place(engine="local"))

`read`, `plan` and `lock` are those of `lading.pipeline`. Nothing here prints; give a ``reporter`` to follow the work. What the user must
change arrives as a `LadingError` with every `Problem` found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading import imaging, pipeline
from lading.model.events import Reporter, silent
from lading.model.records import replace
from lading.model.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lading.deploy.engine import Place, Status
    from lading.images.build import Built
    from lading.model.project import ProjectConfig

__all__ = ["build_image", "create_environment", "deploy", "serve"]


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
        LadingError: if the project names no predictor, a signature cannot be read, its weights cannot be had, or the port is taken.
    """
    from lading.environments.claims import hold  # noqa: PLC0415 -- serving loads much that reading and locking never need
    from lading.service.server import serve as serve_spec  # noqa: PLC0415

    _put_weights(pipeline.Options(directory=ready.root), ready.config, reporter)
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
        target, place = imaging.destination(None, asked.name)
        target.publish((built.image,), place)
    return built


def deploy(
    locked: tuple[pipeline.Locked, ...],
    project: pipeline.Project,
    options: pipeline.Options,
    place: Place,
    *,
    name: str | None = None,
    image: str | None = None,
    variables: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    timeout: float = 600.0,
    reporter: Reporter = silent,
) -> Status:
    """Put the project onto an engine, and wait at most ``timeout`` seconds until it is served; as ``lading deploy``.

    ``name`` is the folder's if it is not given. Where the engine runs images, ``image`` is the one to run: the one that was built last, if it is
    not given. ``variables`` and ``secrets`` are for the models; ``settings`` are the engine's options without their dashes (``port``).

    Raises:
        LadingError: if the engine cannot do what the project needs, cannot be reached, or the revision does not come to serve. What was served
            before is served again then.
    """
    from lading.deploy.engine import engine_module, engine_options, require  # noqa: PLC0415 -- engines load much
    from lading.deploy.making import of_bundle, of_image  # noqa: PLC0415
    from lading.deploy.records import Known, check_name, name_for, remember  # noqa: PLC0415

    capabilities = engine_options(place.engine).CAPABILITIES
    chosen = name_for(options.directory) if name is None else check_name(name)
    if capabilities.image:
        made = of_image(project, image or imaging.default_name(project), chosen)
    else:
        _put_weights(options, project.config, reporter, here=place.engine == "local")
        made = of_bundle(locked, project, options, chosen)
    hidden = {key: Secret(value) for key, value in (secrets or {}).items()}
    deployment = replace(
        made, variables=dict(variables or {}), secrets={**made.secrets, **hidden}, options={**made.options, **(settings or {})}
    )
    require(deployment, capabilities, place)
    engine = engine_module(place.engine).connect(place, options.environ)
    revision = engine.apply(deployment, reporter)
    remember(options.directory, Known(name=chosen, place=engine.place))
    return engine.wait(revision, reporter, timeout)


def _put_weights(options: pipeline.Options, config: ProjectConfig, reporter: Reporter, *, here: bool = True) -> None:
    if config.weights:
        from lading.weights.locking import weights_of  # noqa: PLC0415 -- for the projects that have some
        from lading.weights.placing import put_settled  # noqa: PLC0415

        weights = weights_of(options.directory, config, options.environ, reporter, offline=options.offline)
        put_settled(weights, locked=options.locked, frozen=options.frozen, here=here)
