"""Variables that the server itself follows, and Cog's that change what is served.

In Cog's images there is one environment for server and model, so what ``environment`` of cog.yaml and ``-e`` set reaches both. Here it does,
too: `of_server`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lading.model.project import Style
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec


def of_worker(worker: WorkerSpec, environ: Mapping[str, str]) -> Mapping[str, str]:
    """What the server of one predictor follows: ``environ``, and for Cog's style what its configuration and ``-e`` set, which wins."""
    return environ if worker.style == Style.CORTEX or not worker.env else {**environ, **worker.env}


def of_server(apis: Sequence[ServedApi], environ: Mapping[str, str]) -> Mapping[str, str]:
    """The same for a server: of several predictors, the first one's counts."""
    return of_worker(apis[0].worker, environ) if apis else environ


def with_cog_variables(spec: ServiceSpec, environ: Mapping[str, str]) -> ServiceSpec:
    """The service as ``COG_MAX_CONCURRENCY`` and ``COG_SETUP_TIMEOUT`` want it, where the command line says nothing.

    As in Cog, a value that makes no sense is passed over, and ``COG_MAX_CONCURRENCY`` wins over what the project declares.
    """
    timeout = setup_timeout(of_server(spec.apis, environ)) if spec.setup_timeout is None else spec.setup_timeout
    return replace(spec, apis=tuple(_as_concurrent(api, environ) for api in spec.apis), setup_timeout=timeout)


def _as_concurrent(api: ServedApi, environ: Mapping[str, str]) -> ServedApi:
    threads = _whole(of_worker(api.worker, environ).get("COG_MAX_CONCURRENCY"))
    return api if threads is None or api.worker.style == Style.CORTEX else replace(api, worker=with_threads(api.worker, threads))


def with_threads(worker: WorkerSpec, threads: int) -> WorkerSpec:
    """The worker with so many predictions at a time, whatever the predictor declares by ``@cog.concurrent``."""
    signature = worker.signature and {**worker.signature, "concurrent": threads}
    return replace(worker, threads=threads, signature=signature)


def setup_timeout(environ: Mapping[str, str]) -> float | None:
    """``COG_SETUP_TIMEOUT`` in seconds; None for none, and for what is no number above 0."""
    try:
        seconds = float(environ.get("COG_SETUP_TIMEOUT") or math.nan)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text) <= 4096 else None
