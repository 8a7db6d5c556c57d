"""Finds the worker's own modules: the running worker has them loaded; ``python predict.py`` by itself has not."""

import importlib
import os
import sys

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def worker_module(name):
    """A module of the worker, without its home on ``sys.path``: nothing else that lies there is for the model."""
    if "lading_worker" not in sys.modules:
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("lading_worker", os.path.join(_HOME, "__init__.py"), submodule_search_locations=[_HOME])
        sys.modules["lading_worker"] = package = module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module("lading_worker." + name)
