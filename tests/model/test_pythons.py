"""What a specifier allows is what `packaging` says, by the short way and by the long one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.model.pythons import allows, is_final, order

NUMBERS = st.lists(st.integers(0, 13), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
CLAUSES = st.one_of(
    st.builds(str.__add__, st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "== ", ">= "]), NUMBERS),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), NUMBERS),
    st.builds("~={}.{}".format, st.integers(0, 4), NUMBERS),
    st.sampled_from([">=3.8rc1", "==3.10.0a1", "!=3.9.post1"]),
)
VERSIONS = st.one_of(NUMBERS, st.sampled_from(["3.13.0rc1", "3.10.0a1", "3.8.0.dev1", "3.11.7+local"]))


@given(st.lists(CLAUSES, max_size=3).map(",".join), VERSIONS)
def test_it_is_what_packaging_allows(specifier: str, version: str):
    assert allows(specifier, version) == SpecifierSet(specifier).contains(version, prereleases=True)


PYTHONS = st.builds("3.{}.{}{}".format, st.integers(6, 14), st.integers(0, 20), st.sampled_from(["", "a1", "b2", "rc1", "rc2"]))


@given(PYTHONS, PYTHONS)
def test_pythons_are_in_their_order(first: str, second: str):
    assert (order(first) < order(second)) == (Version(first) < Version(second))
    assert is_final(first) == (not Version(first).is_prerelease)


@pytest.mark.parametrize("specifier", [">=3.8.*", "3.8", "=>3", ">=", "python>=3"])
def test_what_is_no_specifier_is_refused(specifier: str):
    with pytest.raises(ValueError, match=r"Invalid specifier"):
        allows(specifier, "3.11.7")
