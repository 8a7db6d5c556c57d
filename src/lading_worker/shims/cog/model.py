"""``BaseModel``: a record of named fields, for outputs.

In Cog up to 0.16 it was pydantic's, since then it is a dataclass. Classes written for either work here: fields come from annotations, are
given by position or by name, and one that may be None has that default; a subclass is a dataclass where Python has them (from 3.7).
"""

import re
import sys

_MISSING = object()
_OPTIONAL = re.compile(r"(\w+\.)?Optional\[.*|(.*\|\s*)?None(\s*\|.*)?|(\w+\.)?Union\[.*\bNone\b.*\]", re.DOTALL)


class BaseModel:
    """Base class of structured outputs.

    ``class Output(BaseModel, auto_dataclass=False)`` leaves the class to its author; other class arguments are those of
    ``dataclasses.dataclass``.
    """

    _cog_fields = {}

    def __init_subclass__(cls, *, auto_dataclass=True, init=True, **options):
        super().__init_subclass__()
        inherited = [vars(base).get("_cog_fields", {}) for base in reversed(cls.__mro__[1:])]
        own = _own_fields(cls)
        cls._cog_fields = {name: default for fields in (*inherited, own) for name, default in fields.items()}
        if auto_dataclass and (options or sys.version_info >= (3, 7)):
            _make_dataclass(cls, own, options)

    def __init__(self, *args, **given):
        fields = self._cog_fields
        name = type(self).__name__
        if len(args) > len(fields):
            raise TypeError(f"{name}() takes {len(fields)} values at most, but {len(args)} were given")
        for field, value in zip(fields, args):
            if field in given:
                raise TypeError(f"{name}() got multiple values for {field!r}")
            given[field] = value
        for field in given:
            if field not in fields:
                raise TypeError(f"{name}() has no field {field!r}; it has {', '.join(fields) or 'none'}")
        missing = [field for field, default in fields.items() if field not in given and default is _MISSING]
        if missing:
            raise TypeError(f"{name}() needs a value for {', '.join(map(repr, missing))}")
        for field, default in fields.items():
            object.__setattr__(self, field, given[field] if field in given else default())
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    def model_dump(self):
        """The fields as a dict, models within them too."""
        return {name: _dump(value) for name, value in self}

    def model_dump_json(self):
        """The fields as JSON; what JSON does not know is written as its text."""
        import json

        return json.dumps(self.model_dump(), default=str)

    def model_copy(self, update=None):
        """A copy, some of its fields changed."""
        return type(self)(**dict(dict(self), **(update or {})))

    dict = model_dump
    json = model_dump_json

    def copy(self, update=None):
        """As `model_copy`."""
        return self.model_copy(update)

    def __iter__(self):
        return ((name, getattr(self, name)) for name in self._cog_fields if hasattr(self, name))

    def __eq__(self, other):
        return tuple(self) == tuple(other) if type(other) is type(self) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return "{}({})".format(type(self).__qualname__, ", ".join(f"{name}={value!r}" for name, value in self))


def _dump(value):
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: _dump(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(_dump(item) for item in value)
    return value


def _own_fields(cls):
    """The fields that a class itself declares, each with a function that makes its default, or `_MISSING`."""
    return {name: _default(cls, name, kind) for name, kind in _annotations(cls).items() if not _is_class_variable(kind)}


def _annotations(cls):
    try:
        from annotationlib import Format, get_annotations  # Python 3.14 evaluates them when asked
    except ImportError:
        return vars(cls).get("__annotations__", {})
    return get_annotations(cls, format=Format.FORWARDREF)


def _default(cls, name, kind):
    value = cls.__dict__.get(name, _MISSING)
    if type(value).__name__ in ("Field", "FieldInfo") and hasattr(value, "default_factory"):  # dataclasses' or pydantic's
        if callable(value.default_factory):
            return value.default_factory
        value = value.default
        if value is ... or type(value).__name__ in ("_MISSING_TYPE", "UndefinedType", "PydanticUndefinedType"):
            value = _MISSING
    if value is _MISSING:
        return (lambda: None) if _is_optional(kind) else _MISSING
    if isinstance(value, (list, dict, set)):
        from copy import deepcopy

        return lambda: deepcopy(value)
    return lambda: value


def _is_class_variable(kind):
    kind = getattr(kind, "__forward_arg__", kind)
    if isinstance(kind, str):
        return re.match(r"(\w+\.)?ClassVar\b", kind) is not None
    return "ClassVar" in (type(kind).__name__.strip("_"), str(kind).partition("[")[0].rpartition(".")[2])


def _is_optional(kind):
    kind = getattr(kind, "__forward_arg__", kind)
    if isinstance(kind, str):
        return _OPTIONAL.fullmatch(kind.strip()) is not None
    union = "Union" in type(kind).__name__ or str(getattr(kind, "__origin__", None)) == "typing.Union"
    return kind is None or (union and type(None) in (getattr(kind, "__args__", None) or ()))


def _make_dataclass(cls, own, options):
    """Make the class a dataclass as well, with defaults in the form that ``dataclasses`` accepts; the constructor stays ours."""
    import dataclasses

    given = {name: default for name, default in own.items() if default is not _MISSING}
    for name in own:
        if name in given:
            setattr(cls, name, dataclasses.field(default_factory=given[name]))
        elif name in cls.__dict__:
            delattr(cls, name)
    dataclasses.dataclass(init=False, **options)(cls)
    for name, default in given.items():
        value = default()
        if value is None or isinstance(value, (bool, int, float, str)):
            setattr(cls, name, value)  # `Output.field` gives a plain default, as on any class
