"""System packages: as their files where that is all that installing them does, else by apt in a build container."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lading.images.apt import Apt, AptError
from lading.images.base import load_base
from lading.images.debs import Installed, MustRunError, has_work, look, write_debs
from lading.images.interpreters import host_platform
from lading.images.layers import LayerWriter
from lading.images.layout import Layout
from lading.images.recipe import Recipe, Steps
from lading.images.store import Store
from lading.images.system import system_layer
from lading.model.events import Event, Reporter, silent
from lading.model.problems import LadingError
from tests.images.support import PROJECT, Command, content_of, which, without_engines, write


def _deb(
    folder: Path, name: str, files: dict[str, str], *, depends: str = "", postinst: str | None = None, triggers: str | None = None
) -> Path:
    tree = write(folder / name, {path.lstrip("/"): text for path, text in files.items()})
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: made for a test\n"
    control += f"Depends: {depends}\n" if depends else ""
    write(tree, {"DEBIAN/control": control})
    if postinst is not None:
        write(tree, {"DEBIAN/postinst": postinst})
        (tree / "DEBIAN/postinst").chmod(0o755)
    if triggers is not None:
        write(tree, {"DEBIAN/triggers": triggers})
    path = folder / "repository" / f"{name}_1.0_all.deb"
    path.parent.mkdir(exist_ok=True)
    subprocess.run([which("dpkg-deb"), "--root-owner-group", "-b", tree, path], check=True, capture_output=True)
    return path


def _repository(folder: Path, debs: list[Path]) -> str:
    text = ""
    for deb in debs:
        control = subprocess.run(["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True).stdout
        text += f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\n\n"
    (folder / "repository" / "Packages").write_text(text)
    return f"deb [trusted=yes] file:{folder / 'repository'} ./\n"


def _packaged(base: Path, tmp_path: Path, debs: list[Path]) -> Path:
    folder: Path = shutil.copytree(base, tmp_path / "packaged", symlinks=True)
    write(folder, {"etc/apt/sources.list": _repository(tmp_path, debs)})
    return folder


def test_system_packages_without_scripts_become_a_layer_without_a_container(lading: Command, base: Path, tmp_path: Path) -> None:
    which("apt-get")
    debs = [
        _deb(tmp_path, "tool", {"/lib/tool/data.txt": "data\n", "/usr/bin/tool": "#!/bin/sh\necho tool\n"}, depends="helper"),
        _deb(
            tmp_path,
            "helper",
            {"/usr/share/helper/x": "x\n", "/usr/share/doc/helper/changelog": "left out\n"},
            postinst="#!/bin/sh\nset -e\nldconfig\nexit 0\n",
        ),
    ]
    config = "build:\n  python_requirements: requirements.txt\n  system_packages: [tool]\npredict: predict.py:Predictor\n"
    project = write(tmp_path / "packaged-model", {**PROJECT, "cog.yaml": config})
    folder = _packaged(base, tmp_path, debs)
    ran = lading(
        "build",
        project,
        "-t",
        "packaged:v1",
        "--base",
        folder,
        "-o",
        f"oci:{tmp_path / 'image'}",
        "--json",
        PATH=without_engines(tmp_path),
    )
    layer: Any = next(layer for layer in ran.data["images"][0]["layers"] if layer["kind"] == "system packages")
    found = content_of(Layout(tmp_path / "image").read(layer["digest"]))
    assert found["usr/lib/tool/data.txt"] == b"data\n"  # not lib/…: the base has one /usr
    assert "usr/share/helper/x" in found
    assert "usr/share/doc/helper/changelog" not in found
    assert b"Package: helper" in found["var/lib/dpkg/status.d/helper"]


def test_the_order_of_system_packages_changes_no_layer_and_no_title(base: Path, tmp_path: Path) -> None:
    """Both lists are one layer of the store: who made it first must not name it for the other."""
    which("apt-get")
    debs = [_deb(tmp_path, name, {f"/usr/share/{name}": "x\n"}) for name in ("beta", "alpha")]
    folder = _packaged(base, tmp_path, debs)
    titles = {}
    for home in ("one", "two"):
        store = Store(tmp_path / home)
        loaded = load_base(str(folder), host_platform(), store)
        for names in (("beta", "alpha"), ("alpha", "beta"))[:: 1 if home == "one" else -1]:
            recipe = Recipe(title="x", root=tmp_path, environments=(), service={}, base="", platform=host_platform(), system_packages=names)
            layer, _ = system_layer(loaded, recipe, store, silent)
            titles[home, names] = (layer.title, layer.diff_id)
    assert len(set(titles.values())) == 1


def test_system_packages_with_scripts_need_a_build_container(lading: Command, base: Path, tmp_path: Path) -> None:
    which("apt-get")
    debs = [
        _deb(
            tmp_path,
            "tool",
            {"/usr/share/tool": "x\n"},
            postinst="#!/bin/sh\nupdate-alternatives --install /usr/bin/t t /usr/share/tool 1\n",
        )
    ]
    config = "build:\n  python_requirements: requirements.txt\n  system_packages: [tool]\npredict: predict.py:Predictor\n"
    project = write(tmp_path / "packaged-model", {**PROJECT, "cog.yaml": config})
    folder = _packaged(base, tmp_path, debs)
    ran = lading("build", project, "-t", "packaged:v1", "--base", folder, "--json", check=False, PATH=without_engines(tmp_path))
    assert ran.data["problems"][0]["rule"] == "build-engine-missing"


def test_a_system_package_that_does_not_exist_is_named(lading: Command, base: Path, tmp_path: Path) -> None:
    which("apt-get")
    config = "build:\n  python_requirements: requirements.txt\n  system_packages: [nothing-of-this-name]\npredict: predict.py:Predictor\n"
    project = write(tmp_path / "packaged-model", {**PROJECT, "cog.yaml": config})
    ran = lading(
        "build",
        project,
        "-t",
        "x",
        "--base",
        _packaged(base, tmp_path, [_deb(tmp_path, "tool", {"/usr/share/t": ""})]),
        "--json",
        check=False,
    )
    (problem,) = ran.data["problems"]
    assert problem["rule"] == "system-packages-failed"
    assert "nothing-of-this-name" in problem["why"]


_TOOL = {"/usr/share/tool": "x\n"}


def _layer(folder: Path, home: Path, *names: str, reporter: Reporter = silent, **recipe: Any) -> Any:
    store = Store(home)
    made = Recipe(title="x", root=home, environments=(), service={}, base="", platform=host_platform(), system_packages=names, **recipe)
    return system_layer(load_base(str(folder), host_platform(), store), made, store, reporter)


@pytest.mark.parametrize(
    ("script", "action", "works"),
    [
        ('#!/bin/sh\nset -e\nif [ "$1" = configure ]; then\n\tldconfig\nfi\nexit 0\n', "configure", False),
        ('#!/bin/sh\nset -e\ndpkg-maintscript-helper rm_conffile /etc/x 1.0-1\\~ -- "$@"\n', "install", False),
        ('#!/bin/sh\nif [ "$1" = triggered ]; then\n  fc-cache -s\n  exit 0\nfi\n', "configure", False),
        ('#!/bin/sh\nif test "$1" = upgrade &&\n   dpkg --compare-versions "$2" lt 1; then\n  if true; then\n    rm -r /etc\n  fi\nfi\n', "install", False),
        ("#!/bin/sh\ncase \"$1\" in\n  configure)\n  ;;\n  *)\n    echo \"called with unknown argument \\`$1'\" >&2\n    exit 1\n  ;;\nesac\n", "configure", False),
        ("#!/bin/sh\nif command -v py3compile >/dev/null 2>&1; then\n  py3compile -p python3-x\nfi\n", "configure", False),
        ("#!/bin/sh\nuseradd tool || true\n", "configure", True),
        ('#!/bin/sh\nif [ "$1" = configure ]; then\n  fc-cache -s\nfi\n', "configure", True),
        ('#!/bin/sh\nif [ -n "$(useradd tool)" ]; then\n  :\nfi\n', "configure", True),
        ("#!/bin/sh\nif useradd tool; then\n  :\nfi\n", "configure", True),
        ('#!/bin/sh\ncase "$1" in\n  configure) useradd tool ;;\nesac\n', "configure", True),
        ('#!/bin/sh\necho "`useradd tool`" >&2\n', "configure", True),
        ("#!/bin/sh\nldconfig; useradd tool\n", "configure", True),
        ('#!/bin/sh\nif [ "$1" = triggered ]; then\n  :\nelse\n  useradd tool\nfi\n', "configure", True),
        ('#!/bin/sh\nif [ "$1" = remove ]; then\n  foo\nelse useradd tool\nfi\n', "configure", True),
        ('#!/bin/sh\nif [ "$1" = remove ]; then\n  foo\nelif useradd tool; then\n  :\nfi\n', "configure", True),
        ('#!/bin/sh\nif [ "$1" = remove ]; then\n  foo; else useradd tool\nfi\n', "configure", True),
        ('#!/bin/sh\nif [ "$1" = triggered ] &&\n  [ -e /x ] || [ -e /y ]; then\n  useradd tool\nfi\n', "configure", True),
        ('#!/bin/sh\nif [ "$1" = triggered ]; then cat <<X\nfi\nX\nuseradd tool\nfi\n', "configure", True),
        ('#!/bin/sh -e\nif [ "$1" = triggered ]; then\n  useradd tool\n', "configure", True),
        ("#!/usr/bin/perl\n# nothing\n", "configure", True),
        ("", "configure", True),
    ],
)  # fmt: skip
def test_what_a_script_of_a_maintainer_may_do(script: str, action: str, works: bool, tmp_path: Path) -> None:  # noqa: FBT001
    assert has_work(write(tmp_path, {"script": script}) / "script", action) is works


_STATUS = (
    "Package: {}\nStatus: {}\nArchitecture: all\nVersion: 0.9\nMaintainer: nobody <nobody@example.org>\nDescription: made for a test\n\n"
)


@pytest.mark.parametrize(
    ("files", "in_base", "why"),
    [
        ({"/usr/share/fonts/a.ttf": "x"}, {"var/lib/dpkg/triggers/File": "/usr/share/fonts fontconfig/noawait\n"}, "fontconfig has work to do"),
        ({"/bin/sh": "x"}, {"var/lib/dpkg/diversions": "/bin/sh\n/bin/sh.distrib\ndash\n"}, "its own rule for /bin/sh"),
        ({"/usr/bin/tool": "x"}, {"var/lib/dpkg/statoverride": "root root 4755 /usr/bin/tool\n"}, "its own rule for /usr/bin/tool"),
        ({"/etc/ld.so.conf.d/tool.conf": "/opt/tool\n"}, {}, "which ldconfig has to read"),
        (_TOOL, {"var/lib/dpkg/status": _STATUS.format("tool", "install ok installed")}, "apt would change tool"),
        (_TOOL, {"var/lib/dpkg/status": _STATUS.format("tool", "deinstall ok config-files")}, "tool has scripts that must run"),
    ],
)  # fmt: skip
def test_what_more_than_files_is_needed_for_is_done_in_a_build_container(
    files: dict[str, str], in_base: dict[str, str], why: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which("apt-get")
    folder = write(_packaged(base, tmp_path, [_deb(tmp_path, "tool", files)]), in_base)
    monkeypatch.setenv("PATH", without_engines(tmp_path))
    with pytest.raises(LadingError) as caught:
        _layer(folder, tmp_path / "home", "tool")
    (problem,) = caught.value.problems
    assert problem.rule == "build-engine-missing"
    assert why in (problem.why or "")


@pytest.mark.parametrize(
    ("of_tool", "of_waiting"),
    [(None, "interest-noawait /usr/share/tool\n"), ("activate-noawait made-up\n", "# one\ninterest made-up\n"), (None, "interest-await /usr/share\n")],
)  # fmt: skip
def test_a_package_may_wait_for_one_that_comes_with_it(
    of_tool: str | None, of_waiting: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which("apt-get")
    debs = [_deb(tmp_path, "tool", _TOOL, triggers=of_tool), _deb(tmp_path, "waiting", {"/etc/waiting": "x"}, triggers=of_waiting)]
    folder = _packaged(base, tmp_path, debs)
    monkeypatch.setenv("PATH", without_engines(tmp_path))
    _layer(folder, tmp_path / "home", "tool")
    _layer(folder, tmp_path / "home", "waiting")
    with pytest.raises(LadingError) as caught:
        _layer(folder, tmp_path / "home", "tool", "waiting")
    assert "waiting has work to do" in (caught.value.problems[0].why or "")


def test_a_package_that_dpkg_of_this_machine_cannot_read_is_left_to_the_bases(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one does not know how newer ones are compressed."""
    which("apt-get")
    deb = _deb(tmp_path, "tool", _TOOL)
    deb.write_bytes(deb.read_bytes().replace(b"control.tar", b"control.new").replace(b"data.tar", b"data.new"))
    folder: Path = shutil.copytree(base, tmp_path / "newer", symlinks=True)
    fields = (
        f"Package: tool\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: x\nFilename: ./{deb.name}\n"
    )
    fields += f"Size: {deb.stat().st_size}\nSHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\n"
    write(tmp_path, {"repository/Packages": fields})
    write(folder, {"etc/apt/sources.list": f"deb [trusted=yes] file:{tmp_path / 'repository'} ./\n"})
    monkeypatch.setenv("PATH", without_engines(tmp_path))
    with pytest.raises(LadingError) as caught:
        _layer(folder, tmp_path / "home", "tool")
    assert "dpkg-deb of this machine cannot read tool_1.0_all.deb" in (caught.value.problems[0].why or "")


def test_a_package_that_breaks_off_between_two_files_is_not_taken(tmp_path: Path) -> None:
    """What there is of it reads as a tar with fewer files; dpkg-deb says that it is none only as it ends."""
    deb = _deb(tmp_path, "tool", {"/usr/share/a": "a\n" * 1000, "/usr/share/b": "b\n"})
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tmp_path / "tool", deb], check=True, capture_output=True)
    content = deb.read_bytes()
    start = content.rindex(b"data.tar") + 60  # behind the header of the member
    with tarfile.open(fileobj=io.BytesIO(content[start:])) as archive:
        last = archive.getmembers()[-1].offset
    assert {"usr/share/a", "usr/share/b"} <= _written(deb, tmp_path / "whole").keys()
    deb.write_bytes(content[: start + last])
    with pytest.raises(MustRunError, match="cannot unpack tool"):
        _written(deb, tmp_path / "cut")


def _written(deb: Path, aside: Path) -> dict[str, bytes]:
    with aside.open("wb") as stream, LayerWriter(stream) as writer:
        write_debs(writer, [look(deb)], Installed({}), ())
        writer.finish()
    return content_of(aside.read_bytes())


def test_commands_that_use_apt_find_the_packages_installed(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which("apt-get")
    folder = _packaged(base, tmp_path, [_deb(tmp_path, "tool", _TOOL)])
    monkeypatch.setenv("PATH", without_engines(tmp_path))
    _layer(folder, tmp_path / "home", "tool", steps=Steps(after=(("echo adapt > /opt/x", ()),)))
    with pytest.raises(LadingError) as caught:
        _layer(folder, tmp_path / "home", "tool", steps=Steps(after=(("apt-get install -y more", ()),)))
    assert "commands of the project use apt" in (caught.value.problems[0].why or "")


_FAKE_APT = """#!/bin/sh
[ "$2" = update ] && exit
for word in "$@"; do case "$word" in tool) mkdir -p /opt && echo "$@" > /opt/installed ;; esac; done
[ -e /opt/installed ] || { echo "E: Unable to locate package" "$@" >&2; exit 100; }
"""


def test_where_apt_of_this_machine_fails_that_of_the_base_does_it(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that this machine does not reach, a key that it cannot check, no apt at all: the reason is told, and both ways out."""
    which("apt-get")
    folder = shutil.copytree(base, tmp_path / "unreached", symlinks=True)
    write(folder, {"etc/apt/sources.list": "deb http://127.0.0.1:9/debian stable main\n", "usr/bin/apt-get": _FAKE_APT})
    (folder / "usr/bin/apt-get").chmod(0o755)
    path = without_engines(tmp_path)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(LadingError) as caught:
        _layer(folder, tmp_path / "home", "tool")
    (problem,) = caught.value.problems
    assert problem.rule == "build-engine-missing"
    assert "127.0.0.1" in (problem.why or "")
    assert "apt-get install buildah" in (problem.instead or "")
    assert "--base" in (problem.instead or "")
    (Path(path) / "buildah").symlink_to(which("buildah"))
    heard: list[str] = []

    def listen(event: Event) -> None:
        heard.append(event.message)

    _, decision = _layer(folder, tmp_path / "unreached-home", "tool", reporter=listen)
    # It becomes a label of the image: no host, no proxy and no mood of the network.
    assert decision.because == "apt of this machine could not choose or fetch the packages, so apt ran in a build container"
    assert any("127.0.0.1" in message for message in heard)
    (Path(path) / "apt-get").unlink()
    layer, decision = _layer(folder, tmp_path / "home", "tool")
    assert "apt is not on this machine, so apt ran in a build container" in decision.because
    assert b"tool" in content_of(Store(tmp_path / "home").read(layer.descriptor.digest))["opt/installed"]
    with pytest.raises(LadingError) as failed:
        _layer(folder, tmp_path / "home", "other")
    (problem,) = failed.value.problems
    assert problem.rule == "system-packages-failed"
    assert "in a build container" in problem.what
    assert "Unable to locate package" in (problem.why or "")
    (folder / "usr/bin/apt-get").unlink()
    with pytest.raises(LadingError) as failed:
        _layer(folder, tmp_path / "home", "tool")
    assert failed.value.problems[0].why == "The base has no apt: it is no Debian or Ubuntu."


def test_nothing_of_apts_configuration_here_or_in_the_base_counts(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hooks are commands."""
    which("apt-get")
    folder = _packaged(base, tmp_path, [_deb(tmp_path, "tool", _TOOL)])
    hook = 'APT::Update::Pre-Invoke { "touch MARK"; };\nAPT::Update::Post-Invoke { "touch MARK"; };\nDir::Etc::sourceparts "/nowhere";\n'
    hook = hook.replace("MARK", str(tmp_path / "mark"))
    write(folder, {"etc/apt/apt.conf.d/99hook": hook, "etc/apt/apt.conf": hook})
    monkeypatch.setenv("APT_CONFIG", str(write(tmp_path, {"apt.conf": hook}) / "apt.conf"))
    layer, _ = _layer(folder, tmp_path / "home", "tool")
    assert "usr/share/tool" in content_of(Store(tmp_path / "home").read(layer.descriptor.digest))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("said", ['amd64";};APT::Update::Pre-Invoke{"touch${IFS}MARK";};X{"', "amd64;", "-x", 'a\n"b'])
def test_architectures_of_a_base_are_no_commands(said: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which("apt-get")
    folder = write(
        _packaged(base, tmp_path, [_deb(tmp_path, "tool", _TOOL)]), {"var/lib/dpkg/arch": said.replace("MARK", str(tmp_path / "mark"))}
    )
    monkeypatch.setenv("PATH", f"{without_engines(tmp_path)}:{Path(which('touch')).parent}")
    layer, _ = _layer(folder, tmp_path / "home", "tool")
    assert "usr/share/tool" in content_of(Store(tmp_path / "home").read(layer.descriptor.digest))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("character", ['"', ";", "\n", " "])
def test_a_folder_whose_name_apt_would_read_as_configuration_is_refused(character: str, base: Path, tmp_path: Path) -> None:
    which("apt-get")
    folder, store = _packaged(base, tmp_path, [_deb(tmp_path, "tool", _TOOL)]), Store(tmp_path / "home")
    with pytest.raises(AptError, match="no folder for temporary files"):
        Apt(tmp_path / f"odd{character}name", load_base(str(folder), host_platform(), store), store).fetch(["tool"])


@pytest.mark.parametrize("trouble", ["hard link", "loop", "folder"])
def test_what_apt_here_cannot_take_of_a_base_is_left_to_the_bases(
    trouble: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the base only what apt reads is unpacked: a hard link to a file beside that has nothing to link to."""
    which("apt-get")
    folder = _packaged(base, tmp_path, [_deb(tmp_path, "tool", _TOOL)])
    if trouble == "hard link":
        write(folder, {"usr/lib/key.gpg": "x", "usr/share/keyrings/none": "x"})
        os.link(folder / "usr/lib/key.gpg", folder / "usr/share/keyrings/key.gpg")
    elif trouble == "loop":
        (folder / "etc/apt/preferences").symlink_to("preferences")
        (folder / "etc/apt/sources.list").unlink()
        (folder / "etc/apt/sources.list").symlink_to("sources.list")
    else:
        (folder / "etc/apt/sources.list.d/own.list").mkdir(parents=True)
        (folder / "etc/apt/sources.list").unlink()
        (folder / "etc/apt/sources.list").mkdir()
    monkeypatch.setenv("PATH", without_engines(tmp_path))
    with pytest.raises(LadingError) as caught:
        _layer(folder, tmp_path / "home", "tool")
    assert caught.value.problems[0].rule == "build-engine-missing"


@pytest.mark.slow
def test_signatures_are_checked_with_the_keys_of_the_base(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which("apt-get")
    gpg, keys = which("gpg"), tmp_path / "g"
    keys.mkdir(mode=0o700)
    words = [gpg, "--batch", "--homedir", str(keys)]
    try:
        subprocess.run([*words, "--passphrase", "", "--quick-gen-key", "test@example.org"], check=True, capture_output=True)
        folder = _packaged(base, tmp_path, [_deb(tmp_path, "tool", _TOOL)])
        place = tmp_path / "repository"
        digest, size = hashlib.sha256((place / "Packages").read_bytes()).hexdigest(), (place / "Packages").stat().st_size
        (place / "Release").write_text(f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {digest} {size} Packages\n")
        subprocess.run([*words, "--clearsign", "-o", place / "InRelease", place / "Release"], check=True, capture_output=True)
        public = subprocess.run([*words, "--export"], check=True, capture_output=True).stdout
    finally:
        subprocess.run([which("gpgconf"), "--homedir", str(keys), "--kill", "all"], check=False)
    stanza = f"Types: deb\nURIs: file:{place}\nSuites: ./\nSigned-By: /usr/share/keyrings/own.gpg\n"
    (folder / "etc/apt/sources.list").unlink()
    write(folder, {"etc/apt/sources.list.d/own.sources": stanza})
    with monkeypatch.context() as alone:
        alone.setenv("PATH", without_engines(tmp_path))
        with pytest.raises(LadingError) as caught:
            _layer(folder, tmp_path / "home", "tool")
    assert "not signed" in (caught.value.problems[0].why or "")
    write(folder, {"usr/share/keyrings/own.gpg": public})
    layer, decision = _layer(folder, tmp_path / "home", "tool")
    assert "the files of 1 package;" in decision.because
    assert "usr/share/tool" in content_of(Store(tmp_path / "home").read(layer.descriptor.digest))
