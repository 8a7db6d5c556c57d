"""One node's server of a bundle, in a process of its own: ``python -m lading.deploy.node FILE``.

The file is the `Assignment` as JSON. The bundle is materialised if it is not yet, and served until a signal says to stop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from lading import pipeline
from lading.deploy.bundle import materialise, require_unpacked
from lading.deploy.node_log import write_event, write_line
from lading.jobs.opening import VARIABLE
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.service import ServedApi, ServiceSpec
from lading.service.variables import with_cog_variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a node is to serve, and how.

    ``digest`` names a bundle that the node has. ``processes`` are the workers by API, where they are other than the bundle's.
    ``variables`` are for the models; secrets may be among them, so the file is for its owner alone. ``LADING_JOBS`` is for the server.
    """

    digest: str
    host: str
    port: int
    jobs_folder: str = ""
    processes: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def read_assignment(path: Path) -> Assignment:
    """An assignment from its file.

    Raises:
        LadingError: if it is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Assignment)
    except (OSError, msgspec.MsgspecError) as error:
        raise LadingError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> Problem:
    return Problem(
        rule="assignment-unreadable",
        what=f"{path} does not say what to serve: {error}.",
        instead="Deploy the project again.",
        code=ExitCode.DEPLOY,
    )


def assigned(spec: ServiceSpec, assignment: Assignment, environ: Mapping[str, str]) -> ServiceSpec:
    """A bundle's service as the assignment wants it, and Cog's variables; ``environ`` are those of the server."""

    def adjusted(api: ServedApi) -> ServedApi:
        processes = assignment.processes.get(api.name, api.processes)
        return replace(api, processes=processes, worker=replace(api.worker, limits=api.cluster.compute.limits(processes)))

    moved = replace(spec, host=assignment.host, port=assignment.port, apis=tuple(map(adjusted, spec.apis)))
    if assignment.jobs_folder:
        moved = replace(moved, jobs_folder=assignment.jobs_folder)
    return with_cog_variables(pipeline.with_variables(moved, assignment.variables), environ)


def main(arguments: list[str]) -> int:
    """Serve; returns the exit status."""
    from lading.deploy.bundle_prune import hold_bundle  # noqa: PLC0415 -- POSIX alone has locks, and this alone needs them
    from lading.environments.claims import hold  # noqa: PLC0415 -- as above
    from lading.service.server import serve  # noqa: PLC0415 -- when the environments are there

    try:
        assignment = read_assignment(Path(arguments[0]))
        bundle, root = require_unpacked(assignment.digest)
        with hold_bundle(root):
            placed = materialise(bundle, root, reporter=write_event)
            with hold(*placed.environments):
                if VARIABLE in assignment.variables:  # else that of whoever deployed
                    os.environ[VARIABLE] = assignment.variables[VARIABLE]
                return serve(assigned(placed.service, assignment, os.environ), write_event)
    except LadingError as error:
        for problem in error.problems:
            write_line(" ".join(part for part in (f"error: {problem.what}", problem.why, problem.instead) if part))
        return int(error.exit_code)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
