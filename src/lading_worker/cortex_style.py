"""Cortex's style of predictor: ``PythonPredictor`` with arguments matched by name, one HTTP request in, one HTTP response out.

Follows Cortex 0.32 (its server's ``serve.py``, observed): what a payload is, what an answer becomes, and that an error in the predictor
is ``internal server error``, its reason in the log alone.
"""

import functools
import inspect
import json
import re
import sys

from lading_worker import cortex_interface
from lading_worker.loading import LoadError, trace

_POST_PREDICT = ("response", "payload", "query_params", "headers")
_PLAIN = [["content-type", "text/plain; charset=utf-8"]]
_ERROR = b"internal server error"
_NOT_JSON = (
    "{} returned {}, which cannot be an answer: {}\n"
    "Return what JSON can tell (numpy arrays with .tolist()), a str, bytes, or a starlette Response.\n"
)


class CortexStyle:
    """Drives one predictor. ``load`` is what LOAD says, ``target`` the predictor's class.

    Raises:
        LoadError: in Cortex's words, if it is no class or a method asks for an argument that nothing passes.
    """

    def __init__(self, load, target):
        self._load = load
        self._name = load["object"]
        self._predictor = None
        if not inspect.isclass(target):
            raise LoadError(f"error in {load['file']}: {self._name} is no class", load["file"])
        self._class = target
        self._cortex = load.get("cortex") or {}
        self._kind = self._cortex.get("kind", "RealtimeAPI")
        self._client = None
        required, optional = cortex_interface.init_arguments(self._name)
        self._init = self._arguments("__init__", optional, required=required, needed=self._name != "Task")
        self._handles = self._after = None
        self._find_methods()

    def _find_methods(self):
        if self._name == "Handler" and self._kind == "RealtimeAPI":
            self._handles = self._methods()
            self._method, self._predict = None, frozenset()
        elif self._name == "Task":
            self._method = "__call__"
            self._predict = self._arguments("__call__", (), required=("self", "config"))
        else:
            self._method, supported = cortex_interface.main_method(self._name, self._kind)
            self._predict = self._arguments(self._method, supported, required=("self",))
            if self._kind == "RealtimeAPI":
                self._after = self._arguments("post_predict", _POST_PREDICT, required=("self",), needed=False)

    def _methods(self):
        """A Handler's methods by the HTTP method that they answer."""
        found = {}
        for verb, method in cortex_interface.HANDLES.items():
            arguments = self._arguments(method, ("payload", "query_params", "headers"), required=("self",), needed=False)
            if arguments is not None:
                found[verb] = method, arguments
        if not found:
            raise self._refuse(f"none of the methods {', '.join(cortex_interface.HANDLES.values())} is defined")
        return found

    # The predictor's methods

    def _arguments(self, method, optional, *, required, needed=True):
        """The names of the arguments that a method asks for; None if there is no such method."""
        function = getattr(self._class, method, None)
        if function is None or function is object.__init__:
            if not needed:
                return None
            raise self._refuse(f'required method "{method}" is not defined')
        found = inspect.getfullargspec(inspect.unwrap(function))
        complaint = _complaint(found, required, (*required, *optional))
        if complaint is None and inspect.iscoroutinefunction(function):
            complaint = "it is asynchronous, and Cortex calls it as a plain function"
        if complaint is not None:
            written = f"{method}({', '.join(_written(found))})"
            raise self._refuse(f'invalid signature for method "{written}": {complaint}', function)
        return frozenset(found.args) - {"self"}

    def _refuse(self, what, function=None):
        code = getattr(function, "__code__", None)
        return LoadError(
            f"error in {self._load['file']}: class {self._name}: {what}", self._load["file"], getattr(code, "co_firstlineno", None)
        )

    def setup(self):
        """Make the predictor.

        Raises:
            LoadError: if it asks for a client of models, which Cortex makes only where the project configures them.
            BaseException: whatever the predictor raises.
        """
        _set_log_level(self._load.get("log_level"))
        self._make_client()
        values = self._init_values()
        self._predictor = self._class(**{name: values.get(name) for name in self._init or ()})

    def _init_values(self):
        values = {"config": self._load["config"], "metrics_client": MetricsClient(), "job_spec": self._cortex.get("job_spec")}
        values[cortex_interface.CLIENTS.get(self._name)] = self._client
        return values

    def _make_client(self):
        name = cortex_interface.CLIENTS.get(self._name)
        if not self._cortex.get("models"):
            if name in (self._init or ()):
                raise self._refuse(f'"{name}" is only given with predictor.multi_model_reloading', self._class.__init__)
            return
        from lading_worker import clients

        if self._cortex["type"] == "python" and not callable(getattr(self._class, "load_model", None)):
            raise self._refuse('required method "load_model" is not defined')
        self._client = clients.make(self._load, self._loader)
        self._client.prepare()

    def _loader(self):
        """The predictor's ``load_model``; in ``__init__`` the predictor is not there yet, and Cortex 0.33 passes no ``self``."""
        if self._predictor is not None:
            return self._predictor.load_model
        return functools.partial(self._class.load_model, None)

    def metadata(self):
        """What the client tells of the models; None without one."""
        return None if self._client is None else self._client.metadata()

    # Requests

    def answer(self, head, body):
        """Run one request: ``(status, headers, body, after)``; ``after`` is to be called once the answer is sent, or None.

        ``head`` is PREDICT's: ``query``, ``headers``, ``content_type``. ``headers`` of the answer are ``[name, value]`` texts.

        Raises:
            SystemExit, KeyboardInterrupt and other `BaseException`: raised by the predictor.
        """
        try:
            method, wanted = self._method, self._predict
            if self._handles is not None:
                if head.get("method") not in self._handles:
                    return 405, [["allow", ", ".join(self._handles)], *_PLAIN], b"Method Not Allowed", None
                method, wanted = self._handles[head["method"]]
            values = self._values(wanted, head, body)
            prediction = getattr(self._predictor, method)(**{name: values[name] for name in wanted})
        except _BadRequest as error:
            return 400, error.headers, error.body, None
        except Exception as error:
            return _failed(error)
        return self._answer_of(prediction, values, head)

    def _values(self, wanted, head, body):
        values = {"batch_id": None, "context": None}
        needed = wanted | (self._after or frozenset())
        if "payload" in needed:
            values["payload"] = _payload(head["content_type"] or "", body)
        if "query_params" in needed:
            values["query_params"] = _web().query_params(head["query"])
        if "headers" in needed:
            values["headers"] = _web().headers(head["headers"])
        return values

    def answer_batch(self, requests):
        """As `answer`, for the ``(head, body)`` of several requests at once (``server_side_batching``): each argument is a list.

        Cortex lets requests hang whose output is missing; here the whole batch is told that there are not enough.
        """
        if self._handles is not None:
            return [self.answer(head, body) for head, body in requests]
        answers, given = [None] * len(requests), {}
        for place, (head, body) in enumerate(requests):
            try:
                given[place] = self._values(self._predict, head, body)
            except _BadRequest as error:
                answers[place] = 400, error.headers, error.body, None
            except Exception as error:
                answers[place] = _failed(error)
        for place, answer in self._answers(given, requests):
            answers[place] = answer
        return answers

    def _answers(self, given, requests):
        if not given:
            return
        places = list(given)
        try:
            arguments = {name: [given[place][name] for place in places] for name in self._predict}
            predictions = getattr(self._predictor, self._method)(**arguments)
        except Exception as error:
            answer = _failed(error)
            yield from ((place, answer) for place in places)
            return
        complaint = _no_batch(predictions, len(places))
        if complaint is not None:
            sys.stderr.write(complaint + "\n")
            yield from ((place, (500, _PLAIN, complaint.encode("utf-8", "replace"), None)) for place in places)
            return
        for place, prediction in zip(places, predictions):
            yield place, self._answer_of(prediction, given[place], requests[place][0])

    def _answer_of(self, prediction, values, head):
        """The HTTP answer of what the predictor returned for a request that gave it these values."""
        try:
            status, headers, content, after = self._respond(prediction, head)
        except Exception as error:
            return _failed(error)
        if self._after is not None:
            after = self._follow(after, prediction, values)
        return status, headers, content, after

    def _follow(self, background, prediction, values):
        given = {name: prediction if name == "response" else values[name] for name in self._after}

        def after():
            if background is not None:
                background()
            self._predictor.post_predict(**given)

        return after

    def _respond(self, prediction, head):
        if isinstance(prediction, bytes):
            return 200, [["content-type", "application/octet-stream"]], prediction, None
        if isinstance(prediction, str):
            return 200, _PLAIN, prediction.encode("utf-8"), None
        responses = sys.modules.get("starlette.responses")
        if responses is not None and isinstance(prediction, responses.Response):
            from lading_worker.asgi import answer_of

            return answer_of(prediction, head)
        try:
            return 200, [["content-type", "application/json"]], json.dumps(prediction).encode("utf-8"), None
        except (TypeError, ValueError, RecursionError) as error:
            if inspect.iscoroutine(prediction):
                prediction.close()
            where = f"{self._name}.{self._method or 'handle'}"
            sys.stderr.write(_NOT_JSON.format(where, type(prediction).__name__, error))
            return 500, [], _ERROR, None


class MetricsClient:
    """The ``metrics_client`` of predictors; what it is told is the running prediction's metrics.

    Cortex's names are free, ours are Cog's: what those do not have becomes an underscore.
    """

    def gauge(self, metric, value, tags=None):  # noqa: ARG002 - Cortex's interface
        """Set a metric.

        Raises:
            ValueError: for names that begin with ``cortex_`` or ``istio_``, as in Cortex.
        """
        self._record(metric, value, "replace")

    def increment(self, metric, value=1, tags=None):  # noqa: ARG002 - Cortex's interface
        """Add to a metric; see `gauge`."""
        self._record(metric, value, "incr")

    def histogram(self, metric, value, tags=None):  # noqa: ARG002 - Cortex's interface
        """Add a value to those of a metric; see `gauge`."""
        self._record(metric, value, "append")

    @staticmethod
    def _record(metric, value, mode):
        from lading_worker import scope

        if metric.startswith(("cortex_", "istio_")):
            raise ValueError(f'the metric name "{metric}" is reserved: names may not begin with cortex_ or istio_')
        name = re.sub("[^A-Za-z0-9]+", "_", metric).strip("_")
        name = name if name[:1].isalpha() else "metric_" + name
        scope.current().record_metric(name[:128].strip("_"), float(value), mode=mode)


def _no_batch(predictions, count):
    """What is wrong with the predictions of a batch, in Cortex's words; None if nothing is."""
    if not isinstance(predictions, list):
        return f"error: please return a list when using server side batching, got {type(predictions)}"
    if len(predictions) != count:
        return f"error: please return a list of {count} when using server side batching, got {len(predictions)}"
    return None


class _BadRequest(Exception):  # noqa: N818 - the client's, not ours
    def __init__(self, headers, body):
        super().__init__(body)
        self.headers, self.body = headers, body


def _payload(content_type, body):
    kind = content_type.lower()
    if kind.startswith("text/plain"):
        charsets = re.findall(r"charset=(\S+)", kind)
        try:
            return body.decode(charsets[-1].strip(';"') if charsets else "utf-8")
        except (ValueError, LookupError) as error:
            raise _BadRequest(_PLAIN, str(error).encode("utf-8", "replace")) from None
    if kind.startswith(("multipart/form", "application/x-www-form-urlencoded")):
        try:
            return _web().form(content_type, body)
        except ValueError as error:
            raise _BadRequest(_PLAIN, str(error).encode("utf-8", "replace")) from None
    if kind.startswith("application/json"):
        try:
            return json.loads(body)
        except json.JSONDecodeError as error:
            message = json.dumps({"error": str(error)}, ensure_ascii=False, separators=(",", ":"))
            raise _BadRequest([["content-type", "application/json"]], message.encode("utf-8")) from None
    return body


def _failed(error):
    """An exception of the predictor: starlette's and fastapi's ``HTTPException`` is an answer, any other an error."""
    exceptions = sys.modules.get("starlette.exceptions")
    if exceptions is not None and isinstance(error, exceptions.HTTPException):
        return error.status_code, [], str(error.detail).encode("utf-8", "replace"), None
    sys.stderr.write(trace(error))
    return 500, [], _ERROR, None


def _web():
    from lading_worker import web

    return web


def _set_log_level(level):
    log = sys.modules.get("cortex_internal.lib.log")
    if log is not None and level:
        log.set_level(level)


def _complaint(found, required, supported):
    """What Cortex would refuse of a method's arguments (``getfullargspec``); None if nothing."""
    for name in required:
        if name not in found.args:
            return f'"{name}" is a required argument, but was not provided'
    if found.args[0] != "self":
        return '"self" must be the first argument'
    for name in found.args:
        if name not in supported:
            return f'"{name}" is not a supported argument'
    for name in found.kwonlyargs:
        if name not in (found.kwonlydefaults or {}):
            return f'"{name}" is keyword-only and nothing passes it'
    return None


def _written(found):
    names = list(found.args)
    names += ["*" + found.varargs] if found.varargs else []
    names += found.kwonlyargs
    return names + (["**" + found.varkw] if found.varkw else [])
