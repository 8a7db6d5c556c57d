"""Which prediction runs here: the metrics that it records and the context that its request carries.

The engine enters a scope before it calls the model and leaves it afterwards; ``cog.current_scope()`` finds it from any function,
coroutine or thread that the prediction uses. Rules and messages of metrics follow coglet 0.23.1 (``coglet._sdk.Scope``, observed).
"""

import re
import sys
import threading

try:
    from contextvars import ContextVar
except ImportError:  # Python 3.6
    ContextVar = None

_LONGEST_NAME = 128
_MOST_SEGMENTS = 4
_MODES = ("replace", "incr", "append")
_KINDS = "bool, int, float, str, list, or dict"
_SEGMENT = re.compile("[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?")


class CancelationException(BaseException):
    """Raised inside a prediction that is canceled; not an ``Exception``, so that ``except Exception`` lets it pass, as in Cog.

    In coroutines it is ``asyncio.CancelledError``.
    """


CancelationException.__module__ = "cog"  # where its users know it from, and where pickle finds it


class MetricRecorder:
    """The metrics of one prediction: ``scope.metrics``.

    A name keeps the type it was first recorded with until it is deleted. ``None`` and numbers that JSON does not know delete.
    """

    def __init__(self, tell=None):
        self._tell = tell
        self._values = {}
        self._kinds = {}
        self._lock = threading.Lock()

    def record(self, key, value, mode=None):
        """Record a metric: ``mode`` is ``replace`` (default), ``incr`` (add to the number) or ``append`` (to a list).

        Raises:
            ValueError: if the name breaks Cog's rules: up to 4 segments of letters, digits and single underscores with dots between,
                128 characters at most, not ``predict_time``, not beginning with ``cog.``.
            TypeError: if the value is none of bool, int, float, str, list, dict, or of another type than before.
        """
        _check_name(key)
        mode = "replace" if mode is None else mode
        if mode not in _MODES:
            raise TypeError(f"Invalid metric mode: {mode!r}. Expected 'replace', 'incr', or 'append'.")
        if value is None or _is_no_number(value):
            self.delete(key)
            return
        value = _plain(value)
        with self._lock:
            self._put(key, value, mode)
            # While the lock is held, so that whoever is told adds in the same order.
            if self._tell is not None:
                self._tell(key, value, mode)

    def _put(self, key, value, mode):
        kind = type(value)
        before = self._kinds.get(key, kind)
        extends = mode == "append" and isinstance(self._values.get(key), list)
        if before is not kind and not (extends and before is list):
            raise TypeError(f"Metric '{key}' has type {before.__name__}, cannot set to {kind.__name__} without deleting first")
        if mode == "incr" and kind not in (int, float):
            raise TypeError(f"Increment mode requires int or float, got {kind.__name__}")
        if mode == "incr" and key in self._values:
            value = self._values[key] + value
        elif mode == "append":
            known = self._values.get(key, [])
            value = [*(known if isinstance(known, list) else [known]), value]
        self._kinds[key] = before
        self._values[key] = value

    def delete(self, key):
        """Forget a metric, and the type that it had. Nothing happens if there is none of that name."""
        with self._lock:
            known = self._kinds.pop(key, None)
            self._values.pop(key, None)
            if known is not None and self._tell is not None:
                self._tell(key, None, "delete")

    def collect(self):
        """The metrics so far as a new dict; dots in names make objects within objects."""
        with self._lock:
            return nest(self._values)

    def __setitem__(self, key, value):
        self.record(key, value)

    def __delitem__(self, key):
        self.delete(key)

    def __repr__(self):
        return f"MetricRecorder(keys={len(self._values)})"


class Scope:
    """What ``cog.current_scope()`` gives: ``metrics``, ``context`` (text by name, from the request), ``record_metric``.

    ``call`` is whatever the engine gave to `enter`, for its own use, None outside a prediction; ``outer`` is the scope around this one.
    """

    __slots__ = ("_context", "_metrics", "call", "outer")

    def __init__(self, metrics, context=None, call=None, outer=None):
        self._metrics = metrics
        self._context = dict(context or {})
        self.call = call
        self.outer = outer

    @property
    def metrics(self):
        """The recorder of this prediction's metrics."""
        return self._metrics

    @property
    def context(self):
        """The request's ``context``, a copy."""
        return dict(self._context)

    def record_metric(self, key, value, mode=None):
        """Record a metric; see `MetricRecorder.record`."""
        self._metrics.record(key, value, mode)

    def __repr__(self):
        return f"Scope({self._metrics!r})"


class _NoMetrics(MetricRecorder):
    """Outside a prediction everything is ignored, as in Cog."""

    def record(self, key, value, mode=None):
        pass


def _nowhere():
    return Scope(_NoMetrics())


class _Tasks:
    """What Python 3.6 has instead of context variables: one value for each thread, or for each task where a loop runs."""

    def __init__(self):
        from weakref import WeakKeyDictionary

        self._threads = threading.local()
        self._tasks = WeakKeyDictionary()

    def get(self):
        task = _current_task()
        return getattr(self._threads, "scope", None) if task is None else self._tasks.get(task)

    def set(self, scope):
        task = _current_task()
        if task is None:
            self._threads.scope = scope
        else:
            self._tasks[task] = scope


def _current_task():
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the only way before Python 3.7
    return None if loop is None else asyncio.Task.current_task(loop)


_here = ContextVar("scope", default=None) if ContextVar is not None else _Tasks()
_running = []
_lock = threading.Lock()


def enter(record_metric=None, context=None, call=None):
    """Begin a prediction in this thread or task; returns its scope, which `leave` wants back.

    ``record_metric(name, value, mode)`` is called for each metric as it is recorded (``replace``, ``incr``, ``append``) or deleted
    (``delete``), from whatever thread does so.
    """
    scope = Scope(MetricRecorder(record_metric), context, call, _here.get())
    _here.set(scope)
    with _lock:
        _running.append(scope)
    return scope


def leave(scope):
    """End a prediction. What still holds its scope (a task or thread that it left behind) records into the void from now on."""
    with _lock:
        if scope in _running:
            _running.remove(scope)
    if _here.get() is scope:
        _here.set(scope.outer)
    scope.outer = None


def current():
    """The scope of the prediction that this code runs for; one that ignores everything outside of predictions.

    A thread that a prediction started does not inherit its context variables; it belongs to the prediction that runs, if that is one.
    """
    scope = _here.get()
    if scope is not None:
        return scope if scope in _running else _nowhere()
    running = list(_running)
    return running[0] if len(running) == 1 else _nowhere()


def nest(metrics):
    """Metrics by name as a new dict in which dots make objects within objects: ``{"a.b": 1}`` is ``{"a": {"b": 1}}``."""
    nested = {}
    for name, value in metrics.items():
        *outer, last = name.split(".")
        place = nested
        for segment in outer:
            inner = place.get(segment)
            place[segment] = place = dict(inner) if isinstance(inner, dict) else {}
        place[last] = value
    return nested


def _check_name(name):
    if not isinstance(name, str):
        raise TypeError(f"metric name must be a str, got {type(name).__name__}")
    if not name:
        raise ValueError("metric name must not be empty")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"metric name must be {_LONGEST_NAME} characters or fewer (got {len(name)} characters)")
    if name == "predict_time":
        raise ValueError("'predict_time' is reserved by the runtime")
    if name.startswith("cog."):
        raise ValueError("the 'cog.' prefix is reserved for system metrics")
    segments = name.split(".")
    if len(segments) > _MOST_SEGMENTS:
        raise ValueError(f"metric name must have at most {_MOST_SEGMENTS} dot-separated segments (got {len(segments)})")
    for segment in segments:
        complaint = _complaint(segment)
        if complaint:
            raise ValueError(complaint)


def _complaint(segment):
    """What is wrong with one segment of a name; None if nothing is."""
    if not segment:
        return "metric name must not contain empty segments (consecutive dots)"
    what = f"metric name segment '{segment}'"
    if not re.match("[A-Za-z]", segment):
        return what + " must start with a letter"
    odd = re.search("[^A-Za-z0-9_]", segment)
    if odd:
        return f"{what} contains invalid character '{odd.group()}'"
    if "__" in segment:
        return what + " must not contain consecutive underscores"
    return None if _SEGMENT.fullmatch(segment) else what + " must end with a letter or digit"


def _is_no_number(value):
    return isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))  # noqa: PLR0124 - NaN


def _plain(value, *, inside=False):
    """A copy of a metric's value that is JSON: later changes by the model do not reach it."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return None if _is_no_number(value) else value if type(value) is kind else kind(value)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the keys of a metric's dict must be str, got {type(key).__name__}")
        return {key: _plain(item, inside=True) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, inside=True) for item in value]
    if inside and value is None:
        return None
    if inside:
        raise TypeError(f"Cannot convert {type(value).__name__} to JSON metric value")
    raise TypeError(f"Unsupported metric value type: {type(value).__name__}. Expected {_KINDS}.")
