"""What is deployed, of a project or of its image: the same for the command line and for programs."""

from __future__ import annotations

from lading import pipeline
from lading.deploy.bundle import make_bundle
from lading.deploy.engine import Deployment
from lading.deploy.imaged import read_image, with_settings_of


def of_bundle(locked: tuple[pipeline.Locked, ...], project: pipeline.Project, options: pipeline.Options, name: str) -> Deployment:
    """The project itself, for an engine that makes its environments on its nodes; its weights are in its folder already.

    Raises:
        LadingError: as `make_bundle` does.
    """
    bundled = make_bundle(locked, project, options, name)
    jobs = {"jobs_folder": str(pipeline.jobs_folder(options.directory, options.environ))}
    return Deployment(name=name, service=bundled.bundle.service, bundled=bundled, options=jobs)


def of_image(project: pipeline.Project, reference: str, name: str, *, side_loaded: bool = False) -> Deployment:
    """The image of a project, scaled as the project says now. ``side_loaded``: the nodes have it under this name.

    Raises:
        LadingError: as `read_image` does, or if the project has other APIs than the image.
    """
    imaged = read_image(reference, side_loaded=side_loaded)
    service, secrets = pipeline.without_secrets(with_settings_of(imaged, project), project.config, project.files)
    return Deployment(name=name, service=service, image=imaged.reference, secrets=secrets)
