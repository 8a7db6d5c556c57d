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


def with_options(spec: ServiceSpec, environ: Mapping[str, str]) -> ServiceSpec:
    """The service of a container, with what its ``LADING_*`` variables say in place of the options of ``lading serve``.

    What makes no sense is passed over: a container that was started with it is better up than down.
    """
    workers, threads = _whole(environ.get("LADING_WORKERS")), _whole(environ.get("LADING_THREADS"))
    upload_url = environ.get("LADING_UPLOAD_URL") or None

    def adjusted(api: ServedApi) -> ServedApi:
        worker = with_threads(api.worker, threads) if threads else api.worker
        return replace(api, processes=workers or api.processes, worker=replace(worker, upload_url=upload_url or worker.upload_url))

    body = _whole(environ.get("LADING_MAX_BODY"), 1 << 40)
    held = max(_whole(environ.get("LADING_MAX_HELD"), 1 << 40) or spec.max_held_bytes, body or 0)
    return replace(
        spec,
        apis=tuple(map(adjusted, spec.apis)),
        training=spec.training and replace(spec.training, worker=replace(spec.training.worker, upload_url=upload_url)),
        max_queue=_whole(environ.get("LADING_MAX_QUEUE"), 100_000) or spec.max_queue,
        max_body_bytes=body or spec.max_body_bytes,
        max_held_bytes=held,
        predict_timeout=_seconds(environ.get("LADING_TIMEOUT")) or spec.predict_timeout,
        ignore_sigterm=spec.ignore_sigterm or bool(environ.get("LADING_AWAIT_EXPLICIT_SHUTDOWN")),
    )


def setup_timeout(environ: Mapping[str, str]) -> float | None:
    """``COG_SETUP_TIMEOUT`` in seconds; None for none, and for what is no number above 0."""
    return _seconds(environ.get("COG_SETUP_TIMEOUT"))


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or math.nan)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _whole(text: str | None, largest: int = 4096) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= largest else None
