"""``from cortex_internal.lib.log import logger``: one JSON object a line on stdout, the keys of ``extra`` among it, as in Cortex."""

import json
import logging
import sys

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as JSON: ``asctime``, ``levelname``, ``message``, ``process``, what ``extra`` gives, and ``exc_info`` if there is one."""

    def format(self, record):
        """The line."""
        line = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "process": record.process,
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _OWN)
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Handler(logging.StreamHandler):
    """Writes to what ``sys.stdout`` is at the time."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.setFormatter(JsonFormatter())

    @property
    def stream(self):
        return sys.stdout


def set_level(level):
    """Set the level: ``debug``, ``info``, ``warning`` or ``error``, as ``predictor.log_level`` of the configuration says."""
    logger.setLevel(level.upper())


logger = logging.getLogger("cortex")
logger.propagate = False
logger.setLevel("INFO")
if not any(isinstance(handler, _Handler) for handler in logger.handlers):
    logger.addHandler(_Handler())
