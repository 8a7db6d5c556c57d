"""Container engines of this machine: podman, docker, buildah. None is needed but for build steps, and each is used as it is configured."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping

from lading.model.records import dataclass

_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that was found. ``name`` is ``podman``, ``docker`` or ``buildah``."""

    name: str
    path: str

    def run(self, *words: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command of it to its end."""
        return subprocess.run([self.path, *words], capture_output=True, text=True, check=False, cwd=cwd)


def find_engine(names: Iterable[str], environ: Mapping[str, str] | None = None) -> Engine | None:
    """The first of these that works: docker only where its daemon answers."""
    variables = os.environ if environ is None else environ
    for name in names:
        path = shutil.which(name, path=variables.get("PATH"))
        if path and (name != "docker" or _answers(path)):
            return Engine(name, path)
    return None


def _answers(docker: str) -> bool:
    try:
        done = subprocess.run([docker, "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def network_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """How this machine reaches the network, for commands in a build container."""
    names = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
    return {name: value for name, value in environ.items() if name.lower() in names}
