"""Runs Cortex's style, which answers HTTP requests as a whole, as the engine wants it."""

from lading_worker.cortex_style import CortexStyle
from lading_worker.loading import trace
from lading_worker.scope import CancelationException

_SERVER_ERROR = {"status": 500, "headers": [["content-type", "text/plain; charset=utf-8"]]}


class CortexPayload:
    """Drives one `CortexStyle`. ``load`` is what LOAD says, ``target`` the class."""

    asynchronous = False
    streaming = False
    healthcheck = None
    encoder = "json"

    def __init__(self, load, target):
        self._style = CortexStyle(load, target)
        self.model_metadata = None

    def setup(self):
        """Make the predictor."""
        self._style.setup()
        self.model_metadata = self._style.metadata()

    def answer(self, call):
        """Run one prediction and send its answer; returns what is to be run afterwards, or None.

        Raises:
            SystemExit, KeyboardInterrupt: raised by the model.
        """
        try:
            call.expose()
            try:
                status, headers, body, after = self._style.answer(call.head, call.body)
            finally:
                call.shield()
            call.done({"status": status, "headers": headers}, body)
        except (SystemExit, KeyboardInterrupt):
            raise
        except CancelationException:
            call.stopped()
            return None
        except BaseException as error:
            call.report(error, trace(error))
            call.done(_SERVER_ERROR, b"internal server error")
            return None
        return after

    def answer_batch(self, batch, look):
        """Run one `lading_worker.batching.Batch` and send its answers; returns what is to be run afterwards, or None.

        Raises:
            SystemExit, KeyboardInterrupt: raised by the model.
        """
        members = batch.left()
        if not members:
            return None
        try:
            batch.expose()
            try:
                answers = self._style.answer_batch([(call.head, call.body) for call in members])
            finally:
                batch.shield()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            _end_batch(batch, members, error)
            return None
        look()
        afterwards = []
        for call, (status, headers, body, after) in zip(members, answers):
            if batch.settle(call):
                call.done({"status": status, "headers": headers}, body)
                afterwards.append(after)
        return lambda: _run_all(afterwards)


def _end_batch(batch, members, error):
    for call in filter(batch.settle, members):
        if isinstance(error, CancelationException):
            call.stopped()
        else:
            call.report(error, trace(error))
            call.done(_SERVER_ERROR, b"internal server error")


def _run_all(afterwards):
    for after in afterwards:
        if after is not None:
            after()
