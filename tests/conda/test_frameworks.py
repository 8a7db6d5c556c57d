"""What build strings of frameworks say, names on the two sides, and the table between them."""

from __future__ import annotations

import pytest
from packaging.utils import canonicalize_name

from lading.frameworks.conda_builds import pip_names, read_build
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.resolvers.conda_names import conda_names, pep440, provided


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("py3.9_cuda11.3_cudnn8_0", "CUDA 11.3 with cuDNN 8, Python 3.9"),
        ("py3.9_cuda11.3_cudnn8.3.2_0", "CUDA 11.3 with cuDNN 8.3.2, Python 3.9"),
        ("py3.10_cpu_0", "the CPU, Python 3.10"),
        ("cuda112py39h8b3a2f3_200", "CUDA 11.2, Python 3.9"),
        ("cuda120_py311h25b6552_200", "CUDA 12.0, Python 3.11"),
        ("cpu_mkl_py310hc8ac0e8_100", "the CPU, Python 3.10"),
        ("cpu_generic_py312_h1a2b3c4_1", "the CPU, Python 3.12"),
        ("cuda124_py_1", "CUDA 12.4"),
        ("cuda118py310h6c9e3e6_0", "CUDA 11.8, Python 3.10"),
        ("mkl_py39h43a5cb4_0", "the CPU, Python 3.9"),
        ("eigen_py38h4ae8fd1_1", "the CPU, Python 3.8"),
        ("h1234567_0", ""),
    ],
)
def test_a_build_string_in_words(build: str, words: str):
    assert read_build(build).words() == words


def test_frameworks_in_the_conda_list_are_known_by_pips_names():
    from lading.formats._matchspec import read_spec

    specs = [read_spec(text, Origin("f", 1), MemoryFiles({})) for text in ("pytorch=2.1", "tensorflow-gpu", "numpy", "jaxlib")]
    assert pip_names(specs) == {"torch", "tensorflow", "tensorflow-cpu", "tensorflow-gpu", "jaxlib"}


@pytest.mark.parametrize(
    ("name", "version", "depends", "purls", "expected"),
    [
        ("numpy", "1.26.4", ["python >=3.11", "libblas"], None, [("numpy", "1.26.4")]),
        ("pytorch", "2.1.0", ["python"], None, [("torch", "2.1.0")]),
        ("matplotlib-base", "3.8.0", ["python"], ["pkg:pypi/matplotlib"], [("matplotlib", "3.8.0")]),
        ("msgpack-python", "1.0", ["python_abi 3.11.*"], None, [("msgpack", "1.0")]),
        ("libblas", "3.9.0", ["openblas"], None, []),
        ("openssl", "3.2", ["ca-certificates"], None, []),
        ("python", "3.11.7", ["libffi"], None, []),
        ("Foo_Bar", "1.0_rc1", ["python"], None, [("foo-bar", "1.0rc1")]),
        ("odd", "9e", ["python"], None, []),
        ("x", "2.0", ["python"], ["pkg:pypi/x_y@2.1", "pkg:generic/z"], [("x-y", "2.1")]),
    ],
)
def test_what_a_conda_package_is_on_the_index(name, version, depends, purls, expected):
    assert list(provided(name, version, depends, purls)) == expected


def test_the_tables_names_are_the_indexs_own():
    assert conda_names("torch") == ("torch", "pytorch", "pytorch-cpu", "pytorch-gpu")
    assert all(canonicalize_name(name) for name in conda_names("opencv-python"))
    assert pep440("9e") is None
    assert pep440("1.2.3.post1") == "1.2.3.post1"
