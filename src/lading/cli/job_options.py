"""Options of servers that share jobs with others."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from lading.cli.values import count_from
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.model.service import ServiceSpec


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """``--jobs-only`` and ``--job-workers``."""
    parser.add_argument("--jobs-only", action="store_true", help="serve the batch, asynchronous and task APIs alone")
    parser.add_argument(
        "--job-workers",
        type=count_from(0),
        metavar="N",
        help="processes that jobs may have here at a time, where servers share a database of jobs (LADING_JOBS); 0: take submissions only",
    )


def with_jobs(spec: ServiceSpec, arguments: argparse.Namespace) -> ServiceSpec:
    """The service as these options want it.

    Raises:
        LadingError: if there are no APIs of jobs.
    """
    spec = replace(spec, job_workers=arguments.job_workers)
    if not arguments.jobs_only:
        return spec
    apis = tuple(api for api in spec.apis if api.worker.cortex.get("kind") == "AsyncAPI")
    if not apis and not spec.job_apis:
        raise LadingError(
            Problem(
                rule="no-jobs",
                what="The project has no APIs of jobs.",
                origin=Origin("--jobs-only"),
                why="These are BatchAPI, AsyncAPI and TaskAPI of cortex.yaml.",
                instead="Leave --jobs-only out.",
            )
        )
    return replace(spec, apis=apis, splitters=())
