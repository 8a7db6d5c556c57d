"""What the front counts, and how Prometheus reads it.

Counting is a few dictionary operations; ``prometheus_client`` is imported when metrics are first asked for. The front sees every
request and every worker, so the numbers are right whatever the number of workers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Metric

    from lading.service.prediction import PredictionService

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the prediction duration's histogram, in seconds."""
_MODEL_METRICS = 200  # names kept per API: a model that makes them up does not fill the memory


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound and count so far, as Prometheus wants them."""
        sums, so_far = [], 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            so_far += count
            sums.append((bound, float(so_far)))
        return sums


class Counters:
    """Counts of one server."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.predictions: Counter[tuple[str, str]] = Counter()
        self.durations: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self.model: dict[tuple[str, str], float] = {}

    def requested(self, api: str, method: str, status: int) -> None:
        """An HTTP request was answered."""
        self.requests[api, method, status] += 1

    def predicted(self, api: str, status: str, seconds: float | None) -> None:
        """A prediction has ended."""
        self.predictions[api, status] += 1
        if seconds is not None:
            histogram = self.durations[api]
            histogram.counts[bisect_left(BUCKETS, seconds)] += 1
            histogram.total += seconds

    def recorded(self, api: str, metrics: Mapping[str, Any]) -> None:
        """The model recorded metrics: the last value of each number is kept."""
        for name, value in metrics.items():
            known = (api, name) in self.model
            if isinstance(value, int | float) and not isinstance(value, bool) and (known or len(self.model) < _MODEL_METRICS):
                self.model[api, name] = float(value)


class Collector:
    """Reads counters and pools for Prometheus."""

    def __init__(self, counters: Counters, services: Iterable[PredictionService]) -> None:
        self._counters, self._services = counters, tuple(services)

    def collect(self) -> Iterable[Metric]:
        """See ``prometheus_client.registry.Collector``."""
        yield from self._requests()
        yield from self._predictions()
        yield from self._workers()

    def _requests(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily  # noqa: PLC0415 - 30 ms, not at start

        requests = CounterMetricFamily("lading_requests", "HTTP requests answered.", labels=("api", "method", "status"))
        for (api, method, status), count in sorted(self._counters.requests.items()):
            requests.add_metric((api, method, str(status)), count)
        yield requests
        predictions = CounterMetricFamily("lading_predictions", "Predictions ended.", labels=("api", "status"))
        for (api, word), count in sorted(self._counters.predictions.items()):
            predictions.add_metric((api, word), count)
        yield predictions

    def _predictions(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415 - see above

        durations = HistogramMetricFamily("lading_prediction_duration_seconds", "Time in the predictor, in seconds.", labels=("api",))
        for api, histogram in sorted(self._counters.durations.items()):
            durations.add_metric((api,), histogram.cumulative(), histogram.total)
        yield durations
        model = GaugeMetricFamily("lading_model_metric", "The last value of a metric that the model recorded.", labels=("api", "name"))
        for (api, name), value in sorted(self._counters.model.items()):
            model.add_metric((api, name), value)
        yield model

    def _workers(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

        restarts = CounterMetricFamily("lading_worker_restarts", "Workers started to replace one that ended.", labels=("api",))
        families = {
            "waiting": GaugeMetricFamily("lading_queue_length", "Predictions that wait.", labels=("api",)),
            "running": GaugeMetricFamily("lading_predictions_running", "Predictions that run.", labels=("api",)),
            "ready": GaugeMetricFamily("lading_workers_ready", "Workers that take predictions.", labels=("api",)),
            "setup": GaugeMetricFamily("lading_setup_seconds", "Duration of the first setup, in seconds.", labels=("api",)),
        }
        for service in self._services:
            pool, label = service.pool, (service.api.name,)
            restarts.add_metric(label, pool.restarts)
            families["waiting"].add_metric(label, pool.waiting)
            families["running"].add_metric(label, pool.running)
            families["ready"].add_metric(label, len(pool.ready_workers))
            if pool.setup.seconds is not None:
                families["setup"].add_metric(label, pool.setup.seconds)
        yield restarts
        yield from families.values()


def exposition(counters: Counters, services: Iterable[PredictionService]) -> bytes:
    """Everything in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - see above

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(counters, services))
    return generate_latest(registry)
