"""Cog's variables that change what is served: ``COG_SETUP_TIMEOUT`` and ``COG_MAX_CONCURRENCY``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from lading.model.service import ServedApi, ServiceSpec


def with_cog_variables(spec: ServiceSpec, environ: Mapping[str, str]) -> ServiceSpec:
    """The service as the environment wants it, where the command line and the configuration say nothing.

    As in Cog, a value that makes no sense is passed over.
    """
    threads = _whole(environ.get("COG_MAX_CONCURRENCY"))
    apis = tuple(_with_threads(api, threads) for api in spec.apis) if threads else spec.apis
    timeout = setup_timeout(environ) if spec.setup_timeout is None else spec.setup_timeout
    return replace(spec, apis=apis, setup_timeout=timeout)


def _with_threads(api: ServedApi, threads: int) -> ServedApi:
    return replace(api, worker=replace(api.worker, threads=threads)) if api.worker.threads == 1 else api


def setup_timeout(environ: Mapping[str, str]) -> float | None:
    """``COG_SETUP_TIMEOUT`` in seconds; None for none, and for what is no number above 0."""
    try:
        seconds = float(environ.get("COG_SETUP_TIMEOUT") or math.nan)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text) <= 4096 else None
