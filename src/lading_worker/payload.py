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
