"""Records are held to the standard library's dataclasses: whatever one does, the other does."""

from __future__ import annotations

import copy
import dataclasses
import operator
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.model import records


def point() -> type:
    """A class's body, a new one each time: the standard library keeps marks on its fields."""

    class Point:
        """A point with a name."""

        x: int
        y: int = 0
        names: list[str] = dataclasses.field(default_factory=list)

        def total(self) -> int:
            return self.x + self.y

    return Point


@records.dataclass(frozen=True, slots=True)
class Spot:
    """With the fields of records, and none of the standard library."""

    x: int
    y: int = records.field(default=2)
    names: list[str] = records.field(default_factory=list)


def test_their_own_fields_and_replacing_are_as_the_standard_librarys():
    made = Spot(1)
    assert (made.x, made.y, made.names) == (1, 2, [])
    assert made.names is not Spot(1).names
    assert records.replace(made, y=3) == dataclasses.replace(made, y=3) == Spot(1, 3)
    assert records.replace(made).names is made.names
    with pytest.raises(TypeError, match="unexpected argument: 'z'"):
        records.replace(made, z=3)  # type: ignore[call-arg] # the mistake that is refused
    theirs = dataclasses.make_dataclass("Theirs", [("x", int)])(1)
    assert records.replace(theirs, x=2).x == 2


def alone() -> type:
    class Alone:
        only: object

    return Alone


def empty() -> type:
    class Empty:
        pass

    return Empty


class Both:
    """One class, made by the standard library and by ours."""

    def __init__(self, body: Callable[[], type], **options: Any) -> None:
        self.theirs: Any = dataclasses.dataclass(**options)(body())
        self.ours: Any = records.dataclass(**options)(body())


OPTIONS = [
    {"frozen": frozen, "slots": True, "kw_only": kw_only, "eq": eq, "order": order}
    for frozen in (True, False)
    for kw_only in (True, False)
    for eq, order in ((True, False), (True, True), (False, False))
]
VALUES = st.one_of(st.integers(), st.text(), st.tuples(st.integers()), st.none(), st.just([1]))


def outcome(call: Any) -> Any:
    """What it returns, or the class of what it raises."""
    try:
        return call()
    except (TypeError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(values=st.dictionaries(st.sampled_from(["x", "y", "names", "unknown"]), VALUES), args=st.lists(VALUES, max_size=4))
def test_the_same_arguments_are_taken_and_refused(options: dict[str, Any], values: dict[str, Any], args: list[Any]):
    both = Both(point, **options)
    assert outcome(lambda: repr(both.ours(*args, **values))) == outcome(lambda: repr(both.theirs(*args, **values)))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(one=st.tuples(VALUES, VALUES), other=st.tuples(VALUES, VALUES))
def test_equality_order_and_hash_are_those_of_the_values(options: dict[str, Any], one: tuple[Any, Any], other: tuple[Any, Any]):
    both = Both(point, **options)

    def answers(cls: Any) -> list[Any]:
        first, second = (cls(x=x, y=y, names=()) for x, y in (one, other))
        comparisons = [
            outcome(partial(compare, first, second)) for compare in (operator.eq, operator.lt, operator.le, operator.gt, operator.ge)
        ]
        same = cls(x=one[0], y=one[1], names=())
        return [*comparisons, first == same, first == 1, outcome(lambda: hash(first) == hash(same))]

    assert answers(both.ours) == answers(both.theirs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_class_looks_the_same(options: dict[str, Any]):
    both = Both(point, **options)
    assert (both.ours.__slots__, both.ours.__match_args__) == (both.theirs.__slots__, both.theirs.__match_args__)
    assert both.ours.__doc__ == both.theirs.__doc__
    assert repr(dataclasses.fields(both.ours)) == repr(dataclasses.fields(both.theirs))
    assert not hasattr(both.ours(x=1), "__dict__")
    assert dataclasses.is_dataclass(both.ours)


@pytest.mark.parametrize("body", [alone, empty])
def test_one_field_or_none_is_enough(body: Callable[[], type]):
    both = Both(body, frozen=True, slots=True)
    values = (1,) * len(both.ours.__slots__)
    for cls in (both.ours, both.theirs):
        assert cls(*values) == cls(*values)
        assert hash(cls(*values)) == hash(cls(*values))
    assert repr(both.ours(*values)) == repr(both.theirs(*values))


def test_the_standard_librarys_functions_take_them():
    both = Both(point, frozen=True, slots=True, kw_only=True)

    def answers(cls: Any) -> list[Any]:
        made = cls(x=1, names=["a"])
        changed = dataclasses.replace(made, y=5)
        wrong = outcome(lambda: dataclasses.replace(made, z=1))
        return [
            dataclasses.asdict(changed),
            dataclasses.astuple(changed),
            repr(changed),
            changed.total(),
            changed.names is made.names,
            wrong,
        ]

    assert answers(both.ours) == answers(both.theirs)


def test_each_instance_has_a_default_of_its_own():
    ours = Both(point, frozen=True, slots=True).ours
    assert ours(1).names == []
    assert ours(1).names is not ours(1).names


def test_frozen_is_frozen():
    both = Both(point, frozen=True, slots=True)
    for cls in (both.ours, both.theirs):
        made = cls(1)
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
            made.x = 2
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
            del made.x
        assert made.x == 1
    thawed = Both(point, slots=True).ours(1)
    thawed.x = 2
    assert thawed.x == 2


@records.dataclass(frozen=True, slots=True)
class Place:
    """For pickling, which finds a class by its name."""

    path: str
    line: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def test_copies_and_pickles_are_equal():
    place = Place("a.txt", 3)
    assert [copy.copy(place), copy.deepcopy(place), pickle.loads(pickle.dumps(place))] == [place] * 3
    assert str(place) == "a.txt:3"


def test_patterns_match_by_position_and_by_name():
    match Place("a.txt", 3):
        case Place(path, line=3):
            assert path == "a.txt"
        case _:
            pytest.fail("the pattern did not match")


def test_methods_that_the_class_writes_are_kept():
    @records.dataclass(frozen=True, slots=True)
    class Loud:
        text: str

        def __repr__(self) -> str:
            return "loud"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    assert (repr(Loud("a")), Loud("a") == Loud("b"), hash(Loud("a"))) == ("loud", True, 7)


class Parent:
    x: int


class WithParent(Parent):
    more: int


class Later:
    x: int

    def __post_init__(self) -> None:
        """What the standard library would call."""


class Unset:
    x: int = dataclasses.field(init=False)


@pytest.mark.parametrize("body", [WithParent, Later, Unset], ids=lambda body: body.__name__)
def test_what_only_the_standard_library_does_is_refused(body: type):
    with pytest.raises(TypeError, match=r"dataclasses\.dataclass"):
        records.dataclass(frozen=True, slots=True)(body)
