"""Deployments: the same project on an engine that runs services, each engine in one file behind one protocol.

The package is a function too, as the verb has its name: ``from lading import deploy``, then ``deploy(...)``; see `lading.api.deploy`.
"""

from __future__ import annotations

import sys


class _Package(type(sys)):  # type: ignore[misc] # what `types` calls ModuleType, without loading it
    def __call__(self, *arguments: object, **named: object) -> object:
        from lading.api import deploy  # noqa: PLC0415 -- only who calls it

        return deploy(*arguments, **named)  # type: ignore[arg-type]


sys.modules[__name__].__class__ = _Package
