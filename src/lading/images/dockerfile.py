"""The image as a Dockerfile, for people with a builder of their own. Needs BuildKit (Docker 23, or buildah and podman of today)."""

from __future__ import annotations

import json
import shlex

from lading.images.front import needs_grpc, pins
from lading.images.packages import choose_packages
from lading.images.project import ROOT
from lading.images.recipe import EnvironmentRecipe, Recipe
from lading.model.secrets import redact_urls

_HEAD = """\
# syntax=docker/dockerfile:1
# {title}, as `lading build` makes it. Build it in the project's folder: docker build -t {title} .
# Give indexes' credentials with --secret id=netrc,src=$HOME/.netrc; they stay out of every layer.
"""


def render(recipe: Recipe) -> str:
    """The Dockerfile. Packages come before the project, so that a change of the project builds nothing anew; nothing is a build argument."""
    first = recipe.environments[0]
    lines = [_HEAD.format(title=recipe.title), f"FROM {recipe.base}", "USER 0:0"]
    if recipe.system_packages:
        names = " ".join(shlex.quote(name) for name in recipe.system_packages)
        lines.append(f"RUN apt-get update && apt-get install -y --no-install-recommends {names} && rm -rf /var/lib/apt/lists/*")
    if recipe.steps.before:
        lines.append(f"RUN --mount=type=bind,source=.,target=/{ROOT} cd /{ROOT} && bash -e {shlex.quote(recipe.steps.before)}")
    lines += ["COPY --from=ghcr.io/astral-sh/uv:0.13 /uv /usr/local/bin/uv"]
    for environment in recipe.environments:
        lines += _environment(environment)
    lines += [f"RUN {command}" for command, _ in recipe.steps.after]
    server = " ".join(["lading", *(f"{name}=={version}" for name, version in pins(grpc=needs_grpc(recipe.service)).items())])
    install = f"uv pip install --python /opt/lading/bin/python --compile-bytecode {server}"
    lines += [
        f"RUN {_MOUNTS} uv venv --python 3.11 /opt/lading && {install}",
        f"COPY . /{ROOT}",
        f"ENV PATH=/{first.prefix}/bin:$PATH LADING_SERVICE=/opt/lading/service.json PORT=5000 PYTHONUNBUFFERED=1 HOME=/tmp USER=lading LOGNAME=lading",
        *_service(recipe),
        f"WORKDIR /{ROOT}",
        f"USER {recipe.user}",
        "EXPOSE 5000",
        'HEALTHCHECK --interval=10s --timeout=5s --start-period=600s CMD ["/opt/lading/bin/python", "-I", "-m", "lading.service.healthcheck"]',
        'ENTRYPOINT ["/opt/lading/bin/python", "-I", "-m", "lading.service.container"]',
    ]
    return "\n".join(lines) + "\n"


_MOUNTS = "--mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=netrc,target=/root/.netrc"


def _environment(environment: EnvironmentRecipe) -> list[str]:
    """Exactly the lock, with its hashes, in an environment of its own."""
    path = environment.plan.lock_path
    python = ".".join(environment.target.python.split(".")[:2])
    install = f"uv pip sync --preview-features pylock --python /{environment.prefix}/bin/python --compile-bytecode /tmp/{path}"
    folders = [package for package in choose_packages(environment.lock, environment.target, (), path) if package.kind == "directory"]
    sources = [f"COPY {shlex.quote(package.place)} /tmp/{package.place}" for package in folders]
    return [f"COPY {path} /tmp/{path}", *sources, f"RUN {_MOUNTS} uv venv --python {python} /{environment.prefix} && {install}"]


def _service(recipe: Recipe) -> list[str]:
    text = redact_urls(json.dumps(recipe.service, indent=1, sort_keys=True))
    return ["COPY <<'SERVICE' /opt/lading/service.json", text, "SERVICE"]
