"""Runs the predictors of Cortex's BatchAPI, AsyncAPI and TaskAPI: one item of a job in, whether it worked and its result out.

PREDICT's head says what to ``do``: ``predict`` (with ``batch_id`` or ``request_id``), ``on_job_complete``, or ``task``.
"""

import json
import re

from lading_worker.cortex_style import CortexStyle
from lading_worker.loading import trace
from lading_worker.scope import CancelationException

_LATE = "the answer of {} must be a dict, and it is {}"


class CortexJobs(CortexStyle):
    """Drives one predictor; see the module."""

    asynchronous = False
    streaming = False
    healthcheck = None
    encoder = "json"

    def answer(self, call, _body=None):
        """Run one item and send what came of it.

        Raises:
            SystemExit, KeyboardInterrupt: raised by the model.
        """
        try:
            call.expose()
            call.began = _now()
            try:
                result = self._do(call.head, call.body)
            finally:
                call.shield()
            call.succeeded(result)
        except (SystemExit, KeyboardInterrupt):
            raise
        except CancelationException:
            call.stopped()
        except BaseException as error:
            call.failed(error, trace(error))

    def _do(self, head, body):
        action = head.get("do", "predict")
        if action == "task":
            return _result(self._predictor(json.loads(body.decode()) if body else {}))
        if action == "on_job_complete":
            complete = getattr(self._predictor, "on_job_complete", None)
            if complete is not None:
                complete()
            return b""
        result = getattr(self._predictor, self._method)(**self._given(head, body))
        if self._kind == "BatchAPI":
            return b""
        if not isinstance(result, dict):
            raise TypeError(_LATE.format(self._method, type(result).__name__))
        return json.dumps(result).encode()

    def _given(self, head, body):
        values = {"batch_id": head.get("batch_id"), "request_id": head.get("request_id")}
        if "payload" in self._predict:
            values["payload"] = _payload(head.get("content_type") or "application/json", body)
        return {name: values.get(name) for name in self._predict}


def _payload(content_type, body):
    """What Cortex's gateway makes of a body: JSON, text (always UTF-8), else bytes."""
    kind = content_type.lower()
    if re.match("application/json", kind):
        return json.loads(body.decode())
    return body.decode() if kind.startswith("text/plain") else body


def _result(value):
    """What a task returned, if JSON can tell it."""
    try:
        return b"" if value is None else json.dumps(value).encode()
    except (TypeError, ValueError):
        return b""


def _now():
    from time import perf_counter

    return perf_counter()
