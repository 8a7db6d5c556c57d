"""The program that the front starts with the environment's Python; see ``docs/explanation/worker-protocol.md``.

    PYTHON -u .../lading_worker/__main__.py --control FD --slots FD[,FD...] --output FD,FD

A child that the model makes with ``multiprocessing`` (spawn, forkserver) runs this file again under the name ``__mp_main__``: then
nothing must happen here.
"""

import sys


def _load_package():
    """Make the package importable under its name, and nothing else of the folder that it lies in: the model must not see that."""
    import os
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.dirname(os.path.abspath(__file__))
    # Python puts a script's folder in front of the path (unless PYTHONSAFEPATH is set).
    if sys.path and os.path.abspath(sys.path[0]) == folder:
        del sys.path[0]
    spec = spec_from_file_location("lading_worker", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    package = module_from_spec(spec)
    sys.modules["lading_worker"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_package()
    from lading_worker.engine import main

    main(sys.argv[1:])
