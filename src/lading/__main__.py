"""The command's entry: answers what needs no project at once, and hands over the rest.

``lading --version``, ``lading --help`` and a ``lading install`` with nothing to do must cost little more than starting Python, so
this module and what it imports at the top stay with ``sys`` and ``os``.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line given in ``sys.argv``; returns the exit status."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        from lading import __version__

        print(f"lading {__version__}")
        return 0
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        from lading.cli.verbs import overview

        print(overview())
        return 0
    from lading.cli.fast import nothing_to_do

    if nothing_to_do(arguments):
        return 0
    import gc

    # What is loaded now stays until the end: looking for garbage in it, while loading and at the end, costs a tenth of a short run.
    gc.set_threshold(200_000)
    from lading.cli.run import run

    status = run(arguments)
    gc.freeze()
    return status


if __name__ == "__main__":
    sys.exit(main())
