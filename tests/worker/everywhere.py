"""Runs expressions on another Python, with the worker's modules and shims in place, and tells what came of each."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lading_worker

HOUSE = Path(lading_worker.__file__).parent
_PROGRAM = """
import importlib.util, json, sys, types
house, shims = sys.argv[1:]
spec = importlib.util.spec_from_file_location("lading_worker", house + "/__init__.py", submodule_search_locations=[house])
sys.modules["lading_worker"] = importlib.util.module_from_spec(spec)
sys.path.insert(0, shims)
given = json.load(sys.stdin)
sys.modules["checked"] = types.ModuleType("checked")
scope = vars(sys.modules["checked"])
exec(given["setup"], scope)
told = []
for expression in given["expressions"]:
    try:
        told.append(eval(expression, scope))
    except Exception as error:
        told.append("%s: %s" % (type(error).__name__, error))
json.dump(told, sys.stdout)
"""


def evaluate(python: str, setup: str, expressions: Iterable[str], folder: Path | None = None) -> dict[str, Any]:
    """The value of each expression after ``setup``, as JSON; ``Kind: message`` for one that raises."""
    expressions = list(expressions)
    given = json.dumps({"setup": textwrap.dedent(setup), "expressions": expressions})
    arguments = [python, "-W", "error", "-c", _PROGRAM, str(HOUSE), str(HOUSE / "shims")]
    ended = subprocess.run(arguments, input=given, capture_output=True, text=True, cwd=folder, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return dict(zip(expressions, json.loads(ended.stdout), strict=True))
