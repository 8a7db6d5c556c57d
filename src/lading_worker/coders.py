"""Inputs and outputs of classes of the model's own, which a ``cog.Coder`` makes of JSON and writes as JSON.

As in Cog, the coders are those that the predictor's module registers, and those that it, or a module that it imports, defines.
"""

import sys
from types import ModuleType


def decoders(signature, function):
    """What turns an input's JSON into the declared object, by the input's name; register the coders of the predictor's module.

    Raises:
        TypeError: if no coder knows the class of an input.
    """
    fields = [field for field in signature.get("inputs", ()) if _is_coded(field["type"])]
    if not fields and not _is_coded(signature.get("output") or {}):
        return {}
    scope = getattr(function, "__globals__", {})
    _register_all(scope)
    return {field["name"]: _decoder(field["type"], scope, field["name"]) for field in fields}


def _is_coded(kind):
    inner = [kind.get("items"), *kind.get("types", ())]
    return "coder" in kind or any(_is_coded(part) for part in inner if part)


def _register_all(scope):
    from cog.coder import Coder

    things = list(scope.values())
    for module in [thing for thing in things if isinstance(thing, ModuleType)]:
        things += list(vars(module).values())
    for thing in things:
        if isinstance(thing, type) and issubclass(thing, Coder) and thing is not Coder:
            Coder.register(thing)


def _decoder(kind, scope, name):
    if "coder" in kind:
        return _coder_of(kind["coder"], scope, name).decode
    if kind["kind"] == "list":
        item = _decoder(kind["items"], scope, name)
        return lambda values: [item(value) for value in values]
    member = _decoder(next(part for part in kind["types"] if _is_coded(part)), scope, name)
    return lambda value: None if value is None else member(value)


def _coder_of(written, scope, name):
    from cog.coder import Coder

    first, *rest = written["name"].split(".")
    home = sys.modules.get(written["module"])
    found = scope.get(first, getattr(home, first, None))
    for part in rest:
        found = getattr(found, part, None)
    coder = None if found is None else Coder.lookup(found)
    if coder is None:
        raise TypeError(f"no cog.Coder knows {written['name']}, the type of the input {name}")
    return coder
