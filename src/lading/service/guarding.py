"""The program of `lading.service.guard`. Run by the bare interpreter, and imports next to nothing until there is something to do.

Each line of its input is a key and facts as JSON, with a tab between them; facts are ``null`` for what has ended in good order. At the
input's end all that is left is ended.
"""

# ruff: noqa: PLC0415 - see above

import os
import sys

TYPE_CHECKING = False  # `typing` is not imported for it
if TYPE_CHECKING:
    from types import ModuleType


def main() -> None:
    """Read to the end, then act. The first process ends at once: who started it is not this one's parent."""
    if os.fork():
        os._exit(0)
    watched: dict[bytes, bytes] = {}
    for line in sys.stdin.buffer:
        key, _, facts = line.partition(b"\t")
        if facts == b"null\n":
            watched.pop(key, None)
        else:
            watched[key] = facts
    if watched:
        _end(list(watched.values()))


def _end(left: "list[bytes]") -> None:
    import json
    import shutil
    import subprocess

    found = [json.loads(facts) for facts in left]
    _end_workers([facts for facts in found if "mark" in facts])
    for facts in found:
        if "folder" in facts:
            shutil.rmtree(facts["folder"], ignore_errors=True)
        if "command" in facts:
            _kill_group(facts["pid"])
            if facts["command"]:
                subprocess.run(facts["command"], check=False)


def _end_workers(workers: "list[dict[str, str]]") -> None:
    import time
    from pathlib import Path

    descendants = _descendants()
    for facts in workers:
        _kill_group(facts["pid"])
        if facts["group"]:
            descendants.ControlGroup(Path(facts["group"])).end()
    for pause in (0.02, 0.0):
        for facts in workers:
            descendants.kill_marked(facts["mark"])
        time.sleep(pause)  # one that was just becoming another program had no variables to be seen


def _kill_group(pid: "int | str | None") -> None:
    import contextlib
    import signal

    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(pid), signal.SIGKILL)


def _descendants() -> "ModuleType":
    """`lading.service.descendants`, without the packages that it lies in."""
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    spec = spec_from_file_location("descendants", Path(__file__).resolve().with_name("descendants.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
