"""Run by each Python that the worker may meet: binds the cases on standard input and prints what came of each, as JSON.

Standard library only, syntax of Python 3.6, like the module that it exercises.
"""

import json
import sys

from lading_worker import inputs


class Marked(inputs.Verbatim):
    """Shows which maker an input went through."""

    def path(self, value):
        if value == "gone":
            raise ValueError("the file is gone")
        return "path:" + value

    def default_path(self, value):
        return "default:" + value

    def file(self, value):
        return "file:" + value

    def secret(self, value):
        return "secret:" + value


def outcome(case):
    try:
        return {"arguments": inputs.bind({"inputs": case["inputs"]}, case["value"], Marked())}
    except inputs.InvalidInput as error:
        return {"detail": error.detail}


if __name__ == "__main__":
    json.dump([outcome(case) for case in json.load(sys.stdin)], sys.stdout)
