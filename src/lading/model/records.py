"""Dataclasses whose definition costs microseconds: a drop-in for `dataclasses.dataclass`, for classes with slots.

The standard library writes six methods as source text for every class and compiles them: half a millisecond a class, each time the
program starts. A command loads a hundred such classes and uses a few of each, and making them took longer than all else that it did before
starting uv. Here the methods are closures over the names of the fields. Instances behave as the standard library's do: equality, hash, repr,
pattern matching, copying, pickling, `dataclasses.fields`, `dataclasses.replace`, `dataclasses.asdict`. To type checkers it *is* the standard
library's.

`field` and `replace` are here as well, so that a module which has records only need not load `dataclasses`, nor `inspect` with it (3 ms).

Refused when the class is made: inheritance, ``__post_init__`` and ``field(init=False)``. A class that wants one of these takes
`dataclasses.dataclass`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter, ge, gt, le, lt
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import Field, dataclass, field, replace

__all__ = ["dataclass", "field", "replace"]

_T = TypeVar("_T")
_LEFT_OUT = ("__dict__", "__weakref__")
"""What a class without slots has in their place."""


def _dataclass(
    *, slots: bool, frozen: bool = False, kw_only: bool = False, eq: bool = True, order: bool = False
) -> Callable[[type[_T]], type[_T]]:
    """As `dataclasses.dataclass` is called; ``slots`` must be true.

    Raises:
        TypeError: if the class needs what only the standard library's has.
    """

    def made(cls: type[_T]) -> type[_T]:
        if not slots or cls.__bases__ != (object,) or hasattr(cls, "__post_init__"):
            raise TypeError(f"{cls.__qualname__} must take dataclasses.dataclass")
        return _made(cls, frozen=frozen, kw_only=kw_only, eq=eq, order=order)

    return made


class _Given:
    """What `field` was given: a default, or how to make one."""

    def __init__(self, default: Any, default_factory: Callable[[], Any] | None) -> None:
        self.default, self.default_factory = default, default_factory


_NOTHING: Any = object()


def _field(*, default: Any = _NOTHING, default_factory: Callable[[], Any] | None = None) -> Any:
    """As `dataclasses.field`, for defaults."""
    return _Given(default, default_factory)


def _replace(record: Any, /, **changes: Any) -> Any:
    """As `dataclasses.replace`."""
    if not isinstance(vars(type(record)).get("__dataclass_fields__"), _Fields):
        import dataclasses  # noqa: PLC0415 -- see above

        return dataclasses.replace(record, **changes)
    for name in record.__slots__:
        if name not in changes:
            changes[name] = getattr(record, name)
    return type(record)(**changes)


if not TYPE_CHECKING:
    dataclass, field, replace = _dataclass, _field, _replace


def _made(cls: type[_T], *, frozen: bool, kw_only: bool, eq: bool, order: bool) -> type[_T]:
    """The class once more, with slots (a class that is there cannot get them) and with the methods that it does not write itself."""
    declared = _Fields(cls, kw_only=kw_only)
    names = tuple(declared.types)
    body = {name: value for name, value in vars(cls).items() if name not in _LEFT_OUT and name not in declared.types}
    body.update(__slots__=names, __qualname__=cls.__qualname__, __dataclass_fields__=declared)
    body.setdefault("__match_args__", () if kw_only else names)
    body.setdefault("__repr__", _repr)
    if eq:
        values = _values(names)
        body.setdefault("__eq__", _equality(values))
        body["__hash__"] = body.get("__hash__") or (_hashing(values) if frozen else None)
        if order:
            body.update((f"__{compare.__name__}__", _comparing(values, compare)) for compare in (lt, le, gt, ge))
    if frozen:
        body.update(__setattr__=_refuse_setting, __delattr__=_refuse_deleting, __getstate__=_get_state, __setstate__=_set_state)
    made: Any = type(cls.__name__, cls.__bases__, body)
    # The descriptors of the slots set what `__setattr__` refuses.
    puts = tuple((name, vars(made)[name].__set__) for name in names)
    made.__init__ = _initializer(cls.__name__, puts, declared, kw_only=kw_only)
    return made  # type: ignore[no-any-return]


class _Fields:
    """The class attribute that `dataclasses` looks for. Its objects are made when it is looked at: few classes' ever are."""

    def __init__(self, cls: type, *, kw_only: bool) -> None:
        self.types: dict[str, Any] = cls.__annotations__
        self._kw_only = kw_only
        self._made: dict[str, Field[Any]] = {}
        self.defaults: dict[str, Any] = {}
        self.factories: dict[str, Callable[[], Any]] = {}
        for name in self.types:
            if name not in cls.__dict__:
                continue
            given = _given(name, cls.__dict__[name])
            if given.default_factory is not None:
                self.factories[name] = given.default_factory
            elif given.default is not _NOTHING:
                self.defaults[name] = given.default

    def __get__(self, instance: object, owner: type) -> dict[str, Field[Any]]:
        if not self._made:
            self._made.update(self._fields())
        return self._made

    def _fields(self) -> Iterable[tuple[str, Field[Any]]]:
        from copy import copy  # noqa: PLC0415 -- for those who look
        from dataclasses import MISSING  # noqa: PLC0415 -- as above

        for name, type_ in self.types.items():
            made = copy(_sample())
            made.name, made.type, made.kw_only = name, type_, self._kw_only
            made.default = self.defaults.get(name, MISSING)
            made.default_factory = self.factories.get(name, MISSING)
            yield name, made


@cache
def _sample() -> Field[Any]:
    """A field as the standard library makes it, with the marks of its own that tell it is one."""
    import dataclasses  # noqa: PLC0415 -- see above

    @dataclasses.dataclass
    class Sample:
        field: Any

    return dataclasses.fields(Sample)[0]


def _given(name: str, value: Any) -> _Given:
    """A field's default as the class has it: plain, by `field`, or by that of the standard library."""
    if isinstance(value, _Given):
        return value
    library = sys.modules.get("dataclasses")
    if library is None or not isinstance(value, library.Field):
        return _Given(value, None)
    if not (value.init and value.repr and value.compare):
        raise TypeError(f"{name} must be a field of dataclasses.dataclass")
    missing = library.MISSING
    default = _NOTHING if value.default is missing else value.default
    return _Given(default, None if value.default_factory is missing else value.default_factory)


def _initializer(
    name: str, puts: tuple[tuple[str, Callable[[Any, Any], None]], ...], declared: _Fields, *, kw_only: bool
) -> Callable[..., None]:
    defaults, factories, count = declared.defaults, tuple(declared.factories.items()), len(puts)
    names = tuple(declared.types)

    def __init__(self: Any, /, *args: Any, **given: Any) -> None:  # noqa: N807 -- becomes one
        if args:
            _add_positional(name, () if kw_only else names, args, given)
        if len(given) == count:
            values = given
        else:
            values = {**defaults, **given}
            for field, make in factories:
                if field not in given:
                    values[field] = make()
        if len(values) != count:
            raise TypeError(_misfit(name, names, values))
        try:
            for field, put in puts:
                put(self, values[field])
        except KeyError:
            raise TypeError(_misfit(name, names, values)) from None

    return __init__


def _add_positional(name: str, names: tuple[str, ...], args: tuple[Any, ...], given: dict[str, Any]) -> None:
    if len(args) > len(names):
        raise TypeError(f"{name}() takes {len(names)} positional arguments but {len(args)} were given")
    twice = given.keys() & names[: len(args)] if given else ()
    if twice:
        raise TypeError(f"{name}() got multiple values for {', '.join(sorted(twice))}")
    given.update(zip(names, args, strict=False))


def _misfit(name: str, names: tuple[str, ...], values: Mapping[str, Any]) -> str:
    unknown = [repr(one) for one in values if one not in names]
    missing = [repr(one) for one in names if one not in values]
    return f"{name}() got an unexpected argument: {', '.join(unknown)}" if unknown else f"{name}() is missing: {', '.join(missing)}"


def _values(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """Gives the tuple of an instance's values."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda instance: tuple(getattr(instance, name) for name in names)


def _equality(values: Callable[[Any], Any]) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:  # noqa: N807 -- becomes one
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _comparing(values: Callable[[Any], Any], compare: Callable[[Any, Any], bool]) -> Callable[[Any, object], bool]:
    def compared(self: Any, other: object) -> bool:
        return compare(values(self), values(other)) if other.__class__ is self.__class__ else NotImplemented

    return compared


def _hashing(values: Callable[[Any], Any]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:  # noqa: N807 -- becomes one
        return hash(values(self))

    return __hash__


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{self.__class__.__qualname__}({shown})"


def _refuse_setting(self: Any, name: str, value: object) -> None:  # noqa: ARG001 -- as it is called
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 -- it is a mistake to come here

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(self: Any, name: str) -> None:  # noqa: ARG001 -- as above
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 -- as above

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__slots__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)
