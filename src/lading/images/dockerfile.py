"""The image as a Dockerfile, for people with a builder of their own. Needs BuildKit (Docker 23, or buildah and podman of today)."""

from __future__ import annotations

import json
import os
import shlex

from lading import __version__
from lading.frameworks.tags import minor_of
from lading.images.front import OLDEST, needs_grpc, pins
from lading.images.packages import choose_packages
from lading.images.project import ROOT, find_files, left_out_names
from lading.images.recipe import PORT, EnvironmentRecipe, Recipe
from lading.model.problems import LadingError, Problem
from lading.model.project import ProjectKind
from lading.model.secrets import redact_urls

_HEAD = """\
# syntax=docker/dockerfile:1
# {title}, as `lading build` makes it. Build it in the project's folder: docker build -t {title} .
# Give indexes' credentials with --secret id=netrc,src=$HOME/.netrc; they stay out of every layer.
"""


def render(recipe: Recipe) -> str:
    """The Dockerfile. Packages come before the project, so that a change of the project builds nothing anew; nothing is a build argument.

    Raises:
        LadingError: if it would need files that no builder can take, or packages that none installs.
    """
    if any(environment.lock.conda for environment in recipe.environments):
        raise LadingError(_conda())
    lines = [_HEAD.format(title=recipe.title), *_project(recipe), f"FROM {recipe.pinned_base}", "USER 0:0"]
    if recipe.system_packages:
        names = " ".join(shlex.quote(name) for name in recipe.system_packages)
        lines.append(f"RUN apt-get update && apt-get install -y --no-install-recommends {names} && rm -rf /var/lib/apt/lists/*")
    lines += [line for script in recipe.steps.before for line in _script(script)]
    # Where a base has no Python, uv brings one: to a folder that whoever the container runs as can read, which root's own is not.
    lines += ["COPY --from=ghcr.io/astral-sh/uv:0.13 /uv /usr/local/bin/uv", "ENV UV_PYTHON_INSTALL_DIR=/opt/python"]
    for environment in recipe.environments:
        lines += _environment(environment)
    lines += [_command(command, mounts) for command, mounts in recipe.steps.after]
    lines += [_READABLE_HOME] if recipe.steps else []
    lines += [
        *_server(recipe),
        *_weights(recipe),
        f"COPY --from={_STAGE} /{ROOT} /{ROOT}",
        _variables(recipe),
        f"WORKDIR /{ROOT}",
        f"USER {recipe.user}",
        f"EXPOSE {PORT}",
        'HEALTHCHECK --interval=10s --timeout=5s --start-period=600s CMD ["/opt/lading/bin/python", "-I", "-m", "lading.service.healthcheck"]',
        'ENTRYPOINT ["/opt/lading/bin/python", "-I", "-m", "lading.service.container"]',
    ]
    return "\n".join(lines) + "\n"


_MOUNTS = "--mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=netrc,target=/root/.netrc"
_SERVICE = "/opt/lading/service.json"
_STAGE = "project"
_READABLE_HOME = r"RUN find /root \( -name .ssh -o -name .gnupg \) -prune -o ! -type l ! -perm -a=r -exec chmod a+rX {} +"
"""What commands fetched into root's home is for whoever the container runs as; see `lading.images.step_files`."""
_PIECE = 1000
"""Characters of a line: some builders read no more than 64 KiB of one."""


def _script(script: str) -> list[str]:
    """It sees the whole project; that it runs again when it changes is what it is copied for (see `_project`)."""
    from lading.images.steps import command_of  # noqa: PLC0415 -- for the projects that have some

    return [
        f"COPY {json.dumps([script, '/tmp/lading/'])}",  # noqa: S108 -- in the image
        f"RUN --mount=type=bind,source=.,target=/{ROOT} cd /{ROOT} && {command_of(script)}",
    ]


def _command(command: str, mounts: tuple[tuple[str, str], ...]) -> str:
    secrets = "".join(f"--mount=type=secret,id={name},target={target} " for name, target in mounts)
    return f"RUN {secrets}{command}"


def _environment(environment: EnvironmentRecipe) -> list[str]:
    """Exactly the lock, with its hashes, in an environment of its own."""
    path = environment.plan.lock_path
    install = f"uv pip sync --preview-features pylock --python /{environment.prefix}/bin/python --compile-bytecode /tmp/{path}"
    folders = [package for package in choose_packages(environment.lock, environment.target, (), path) if package.kind == "directory"]
    sources = [f"COPY {shlex.quote(package.place)} /tmp/{package.place}" for package in folders]
    return [
        f"COPY {path} /tmp/{path}",
        *sources,
        f"RUN {_MOUNTS} uv venv --python {minor_of(environment.target.python)} /{environment.prefix} && {install}",
    ]


def _server(recipe: Recipe) -> list[str]:
    """The server's own environment, of exactly the packages that `lading build` gives it, and what it is to serve."""
    minors = [minor_of(one.target.python) for one in recipe.environments]
    own = [minor for minor in minors if tuple(map(int, minor.split("."))) >= OLDEST]
    python = own[0] if own else ".".join(map(str, OLDEST))
    packages = " ".join(
        [f"lading=={__version__}", *(f"{name}=={version}" for name, version in pins(grpc=needs_grpc(recipe.service)).items())]
    )
    install = f"uv pip install --no-deps --python /opt/lading/bin/python --compile-bytecode {packages}"
    text = redact_urls(json.dumps(recipe.service, sort_keys=True))
    pieces = " \\\n    ".join(shlex.quote(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
    return [
        f"RUN {_MOUNTS} uv venv --python {python} /opt/lading && {install}",
        f"RUN printf %s \\\n    {pieces} > {_SERVICE}",
    ]


def _project(recipe: Recipe) -> list[str]:
    """A stage with the project's files, without those that `lading build` leaves out: COPY takes all that .dockerignore does not name, secrets too.

    A folder that is only bound would do without, but buildah and podman do not look at what is in one: they would take the layer of an older
    project again (buildah's issue 5400).
    """
    found = find_files(recipe.root, cortex=recipe.service.get("kind") == ProjectKind.CORTEX)
    names = " ".join(f"--exclude={shlex.quote(name)}" for name in left_out_names())
    paths = " ".join(f"--exclude={shlex.quote(f'./{path}')}" for path in found.ignored)
    pack = f"tar -C /tmp/project -c --no-anchored {names}{f' --anchored --no-wildcards {paths}' if paths else ''} ."
    return [
        f"FROM {recipe.pinned_base} AS {_STAGE}",
        "USER 0:0",
        "COPY . /tmp/project",
        f"RUN mkdir -p /{ROOT} && {pack} | tar -x --no-same-owner -C /{ROOT}",
    ]


def _variables(recipe: Recipe) -> str:
    variables = recipe.variables("$PATH", _SERVICE, home="/root" if recipe.steps else "")
    return f"ENV {' '.join(f'{name}={value}' for name, value in variables.items())}"


def _weights(recipe: Recipe) -> list[str]:
    """Each file with the digest that its lock has; those of the project come with its other files, where they lie at their target."""
    lines = []
    for one in (file for weights in recipe.weights for file in weights.files):
        if one.source.startswith(("http://", "https://")):
            lines.append(f"ADD --checksum=sha256:{one.sha256} {shlex.quote(one.source)} {shlex.quote('/' + one.path)}")
            continue
        inside = os.path.relpath(one.source, recipe.root)
        if inside.startswith(".."):
            raise LadingError(_outside(one.source))
        if one.path != f"{ROOT}/{inside}":
            lines.append(f"COPY {json.dumps([inside, '/' + one.path])}")
    return lines


def _outside(path: str) -> Problem:
    return Problem(
        rule="weights-outside-context",
        what=f"A Dockerfile cannot take the weights {path}.",
        why="It takes files of the project's folder, and from the web.",
        instead="Move them into the project's folder, or let `lading build` make the image.",
    )


def _conda() -> Problem:
    return Problem(
        rule="dockerfile-with-conda",
        what="A Dockerfile cannot install the conda packages of this project as their lock has them.",
        why="Lading links them itself, for their place in the image.",
        instead="Let `lading build` make the image; `-o oci:DIR` and `-o docker-archive:FILE` hand it to other tools.",
    )
