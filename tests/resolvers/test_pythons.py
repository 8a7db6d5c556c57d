"""Which Pythons a pin has files for, asked of a real index."""

from __future__ import annotations

from pathlib import Path

from lading.model.plan import BoundIndex
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl
from lading.planner.fitting import Support
from lading.resolvers.pythons import supports
from tests.support.index import LocalIndex
from tests.support.plans import declared
from tests.support.wheels import wheel

LINUX = "x86_64-manylinux_2_28"


def ask(index: LocalIndex, folder: Path, *lines: str, bound: tuple[BoundIndex, ...] = (), **options) -> dict[str, Support]:
    requirements = [declared(line, number) for number, line in enumerate(lines, start=1)]
    places = IndexOptions(index_url=SecretUrl(index.url), **options)
    found = supports(requirements, places, bound, LINUX, root=folder, cache=folder / "pages")
    return {str(one.declared.name): one for one in found}


def test_wheels_count_for_their_python_and_platform_and_sources_for_what_they_require(index: LocalIndex, tmp_path: Path):
    for tag in ("cp38-cp38-manylinux_2_17_x86_64", "cp39-cp39-manylinux_2_17_x86_64", "cp311-cp311-win_amd64"):
        index.publish(wheel("built", "1.0", tag=tag))
    index.add_sdist("built", "1.0", requires_python=">=3.8,<3.12")
    index.publish(wheel("built", "2.0", tag="cp312-cp312-manylinux_2_17_x86_64"))
    index.add("pure", "1.0", requires_python=">=3.9")
    index.publish(wheel("stable", "1.0", tag="cp38-abi3-manylinux_2_17_x86_64"))
    found = ask(index, tmp_path, "built==1.0", "pure==1.0", "stable==1.0", "floating>=1", "absent==1.0", "pure2 @ https://x/y.zip")
    assert set(found) == {"built", "pure", "stable"}
    assert found["built"].wheels == {"3.8", "3.9"}
    assert found["built"].source == {"3.8", "3.9", "3.10", "3.11"}
    assert "3.8" not in found["pure"].wheels
    assert {"3.9", "3.14"} <= found["pure"].wheels
    assert "3.7" not in found["stable"].wheels
    assert {"3.8", "3.13"} <= found["stable"].wheels


def test_a_pin_is_looked_for_where_it_comes_from(index: LocalIndex, tmp_path: Path):
    index.publish(wheel("torch", "2.0+cpu", tag="cp310-cp310-linux_x86_64"), to="cpu")
    index.publish(wheel("torch", "2.0", tag="cp311-cp311-manylinux_2_17_x86_64"))
    bound = (BoundIndex("torch", SecretUrl(index.url_of("cpu")), ("torch",)),)
    assert ask(index, tmp_path, "torch==2.0+cpu", bound=bound)["torch"].wheels == {"3.10"}
    assert ask(index, tmp_path, "torch==2.0")["torch"].wheels == {"3.11"}
    links = BoundIndex("links", SecretUrl(index.links_of("cpu")), ("torch",), "find-links")
    assert ask(index, tmp_path, "torch==2.0", bound=(links,))["torch"].wheels == {"3.10"}


def test_an_index_that_does_not_answer_tells_nothing(index: LocalIndex, tmp_path: Path):
    index.add("demo", "1.0")
    index["simple"].status = 500
    assert ask(index, tmp_path, "demo==1.0") == {}
