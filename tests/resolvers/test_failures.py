"""What the user reads when there is no lock to be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lading.model.plan import BoundIndex
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl
from lading.model.target import Interpreter, Target
from lading.resolvers.process import Finished
from lading.resolvers.uv import resolve
from tests.resolvers.test_resolve import commit, write_tree
from tests.support.index import LocalIndex
from tests.support.plans import declared, local, plan_of
from tests.support.wheels import project, wheel

Fail = Callable[..., Problem]
NOWHERE = "http://127.0.0.1:9/simple"
"""The discard port: nothing listens there."""


def told(problem: Problem) -> tuple[str, str, ExitCode]:
    return problem.rule, str(problem.origin), problem.code


def test_my_version_does_not_exist_and_i_see_which_do(index: LocalIndex, fail: Fail):
    for version in ("1.0", "2.0", "2.5", "3.0"):
        index.add("other", version)
    problem = fail(plan_of("other==2.7", index=index.url))
    assert told(problem) == ("version-not-found", "requirements.txt:1", ExitCode.RESOLUTION)
    assert "other==2.7" in problem.what
    assert problem.why == f"{index.host} has 1.0, 2.0, 2.5, 3.0."
    assert problem.instead == "Write other==2.5, or another version that exists."


def test_a_narrow_terminal_changes_no_explanation(index: LocalIndex, fail: Fail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "30")
    index.add("other", "1.0")
    problem = fail(plan_of("other==2.7", index=index.url))
    assert problem.why == f"{index.host} has 1.0."


def test_a_range_that_nothing_fits(index: LocalIndex, fail: Fail):
    index["simple"].json = False
    index.add("other", "1.0")
    problem = fail(plan_of("other>=7", index=index.url))
    assert told(problem) == ("version-not-found", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.why == f"{index.host} has 1.0."


def test_a_package_needs_a_version_that_does_not_exist(index: LocalIndex, fail: Fail):
    index.add("other", "1.0")
    index.add("demo", "1.0", requires=["other==9"])
    index.add("fine", "1.0")
    problem = fail(plan_of("fine", "demo", index=index.url))
    assert told(problem) == ("version-not-found", "requirements.txt:2", ExitCode.RESOLUTION)
    assert "demo" in problem.what


def test_a_build_that_its_index_does_not_have(index: LocalIndex, fail: Fail):
    index.add("torch", "1.11.0+cu113", to="cu113")
    bound = (BoundIndex("pytorch", SecretUrl(index.url_of("cu113")), ("torch",)),)
    problem = fail(plan_of("torch==1.12.0+cu113", index=index.url, bound=bound))
    assert told(problem) == ("version-not-found", "requirements.txt:1", ExitCode.RESOLUTION)
    assert "1.11.0+cu113" in (problem.why or "")


def test_a_misspelt_package(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("numpyy==1", index=index.url))
    assert told(problem) == ("package-not-found", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.what == f"There is no package numpyy on {index.host}."


def test_a_name_to_import_in_place_of_the_one_to_install(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("cv2", index=index.url))
    assert problem.instead == "Write opencv-python: cv2 is the name to import, not the one to install."


def test_a_folder_of_the_project_written_without_a_slash(index: LocalIndex, fail: Fail, root: Path):
    for path, content in project("mine", "0.1").items():
        (root / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / path).write_text(content)
    problem = fail(plan_of("mine", index=index.url))
    assert (problem.instead or "").startswith("Write ./mine for the project's own folder")


def test_two_of_my_packages_disagree_and_i_see_both_my_lines_and_the_reasons(index: LocalIndex, fail: Fail):
    index.add("other", "1.0")
    index.add("other", "2.0")
    index.add("demo", "1.0", requires=["other<2"])
    index.add("demo2", "1.0", requires=["other>=2"])
    problem = fail(plan_of("demo==1.0", "demo2", index=index.url))
    assert told(problem) == ("requirements-conflict", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.what == "demo and demo2 cannot be installed together."
    assert problem.why == "No set of versions satisfies requirements.txt:1, requirements.txt:2."
    lines = (problem.detail or "").splitlines()
    assert lines[:3] == ["requirements.txt:1: demo==1.0", "requirements.txt:2: demo2", ""]
    assert problem.instead == "No one line is to blame: at least two of them must change. The chain of reasons is below."
    assert "other<2" in lines[3]


def test_torch_and_torchvision_that_do_not_belong_together(index: LocalIndex, fail: Fail):
    index.add("torch", "2.1.2")
    index.add("torch", "2.4.1")
    index.add("torchvision", "0.16.2", requires=["torch==2.1.2"])
    problem = fail(plan_of("torch==2.4.1", "torchvision==0.16.2", index=index.url))
    assert told(problem) == ("requirements-conflict", "requirements.txt:1", ExitCode.RESOLUTION)
    assert "torch==2.1.2" in (problem.detail or "")
    assert problem.instead == "Change this line, and the rest fits: requirements.txt:1: torch==2.1.2."


def test_each_line_that_would_do_is_named_with_the_version_it_would_get(index: LocalIndex, fail: Fail):
    for version in ("1.0", "2.0"):
        index.add("base", version)
        index.add("model", version, requires=[f"base=={version}"])
    problem = fail(
        plan_of("base==2.0", "model==1.0", "model>0.1", index=index.url, constraints=(declared("base>1", 3, path="limits.txt"),))
    )
    assert problem.rule == "requirements-conflict"
    assert problem.instead == "Change this line, and the rest fits: requirements.txt:2: model==2.0."
    problem = fail(plan_of("base==2.0", "model==1.0", index=index.url))
    assert problem.instead == (
        "Change any one of these lines, and the rest fits: requirements.txt:1: base==1.0; or requirements.txt:2: model==2.0."
    )


def test_a_constraint_against_a_requirement(index: LocalIndex, fail: Fail):
    index.add("other", "1.0")
    index.add("other", "2.0")
    problem = fail(plan_of("other==1.0", index=index.url, constraints=(declared("other==2.0", 7, path="limits.txt"),)))
    assert problem.rule == "requirements-conflict"
    assert problem.why == "No set of versions satisfies requirements.txt:1, limits.txt:7."


def test_no_wheel_for_my_python_and_i_see_which_pythons_there_are(index: LocalIndex, fail: Fail):
    for tag in ("cp38-cp38", "cp39-cp39"):
        index.add("old", "1.0", tag=f"{tag}-manylinux_2_17_x86_64")
    problem = fail(plan_of("old==1.0", index=index.url))
    assert told(problem) == ("no-wheel-for-python", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.what == "old 1.0 has no wheel for Python 3.11.7."
    assert problem.why == "Its wheels are for Python 3.8 and 3.9, and it has no source distribution."
    assert "Use Python 3.9" in (problem.instead or "")


def test_a_package_that_wants_a_newer_python(index: LocalIndex, fail: Fail):
    index.add("newpy", "1.0", requires_python=">=3.12")
    problem = fail(plan_of("newpy", index=index.url, python_because="cog.yaml:3 asks for it"))
    assert told(problem) == ("python-does-not-fit", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.what == "newpy 1.0 needs Python >=3.12, and the project uses 3.11.7."


def test_no_wheel_for_my_platform(index: LocalIndex, fail: Fail):
    index.add("mac", "1.0", tag="cp311-cp311-macosx_11_0_arm64")
    problem = fail(plan_of("mac", index=index.url))
    assert told(problem) == ("no-wheel-for-platform", "requirements.txt:1", ExitCode.RESOLUTION)
    assert "macosx_11_0_arm64" in (problem.why or "")


def test_the_only_version_was_withdrawn(index: LocalIndex, fail: Fail):
    index.add("demo", "1.0", yanked="breaks")
    problem = fail(plan_of("demo", index=index.url))
    assert told(problem) == ("version-yanked", "requirements.txt:1", ExitCode.RESOLUTION)
    assert "breaks" in (problem.why or "")


def test_a_source_distribution_whose_build_fails_shows_the_end_of_its_output(index: LocalIndex, fail: Fail):
    index.add_sdist("demo", "1.0", static=False, fails_with="\n".join(f"line {number}" for number in range(200)) + "\nno frobnicator")
    problem = fail(plan_of("demo", index=index.url))
    assert told(problem) == ("build-failed", "requirements.txt:1", ExitCode.RESOLUTION)
    lines = (problem.detail or "").splitlines()
    assert lines[-1] == "no frobnicator"
    assert len(lines) < 50


def test_no_source_distribution_and_no_binary(index: LocalIndex, fail: Fail):
    index.add("demo", "1.0")
    problem = fail(plan_of("demo", options=IndexOptions(index_url=SecretUrl(index.url), no_binary=("demo",))))
    assert told(problem) == ("no-file-of-the-wanted-kind", "requirements.txt:1", ExitCode.RESOLUTION)
    assert "--no-binary" in problem.what


def test_no_wheel_and_only_binary(index: LocalIndex, fail: Fail):
    index.add_sdist("demo", "1.0")
    problem = fail(plan_of("demo", options=IndexOptions(index_url=SecretUrl(index.url), only_binary=(":all:",))))
    assert "--only-binary" in problem.what


def test_a_hash_that_is_not_the_files(index: LocalIndex, fail: Fail):
    archive = index.add("demo", "1.0")
    problem = fail(plan_of(declared("demo==1.0", hashes=(f"sha256:{'0' * 64}",)), index=index.url))
    assert told(problem) == ("hash-mismatch", "requirements.txt:1", ExitCode.RESOLUTION)
    assert f"offered: sha256:{archive.sha256}" in (problem.detail or "")


def test_a_hash_that_is_not_the_urls_files(index: LocalIndex, fail: Fail):
    archive = index.add("demo", "1.0")
    line = declared(f"demo @ {index.file_url(archive)}", hashes=(f"sha256:{'0' * 64}",))
    assert told(fail(plan_of(line, index=index.url))) == ("hash-mismatch", "requirements.txt:1", ExitCode.RESOLUTION)


def test_an_index_whose_file_is_not_the_one_it_declares(index: LocalIndex, fail: Fail):
    index.add_sdist("demo", "1.0", static=False)
    index["simple"].wrong_hashes = True
    assert told(fail(plan_of("demo", index=index.url))) == ("hash-mismatch", "requirements.txt:1", ExitCode.RESOLUTION)


def test_required_hashes_that_are_missing_are_all_named_with_their_lines(index: LocalIndex, root: Path):
    other = index.add("other", "1.0")
    archive = index.add("demo", "1.0", requires=["other"])
    options = IndexOptions(index_url=SecretUrl(index.url), require_hashes=True)
    plan = plan_of(declared("demo==1.0", hashes=(f"sha256:{archive.sha256}",)), options=options)
    with pytest.raises(LadingError) as caught:
        resolve(plan, None, root)
    (problem,) = caught.value.problems
    assert problem.rule == "hash-missing"
    assert f"other==1.0 --hash=sha256:{other.sha256}" in (problem.instead or "")


def test_the_index_is_down(fail: Fail):
    problem = fail(plan_of("demo", index=NOWHERE))
    assert (problem.rule, problem.code) == ("index-unreachable", ExitCode.NETWORK)
    assert problem.what == "127.0.0.1:9 cannot be reached."
    assert "Connection refused" in (problem.why or "")


def test_the_framework_index_is_down(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("torch", index=index.url, bound=(BoundIndex("pytorch", SecretUrl(NOWHERE), ("torch",)),)))
    assert (problem.rule, problem.what) == ("index-unreachable", "127.0.0.1:9 cannot be reached.")


def test_the_index_is_not_well(index: LocalIndex, fail: Fail):
    index["simple"].status = 503
    problem = fail(plan_of("demo", index=index.url))
    assert (problem.rule, problem.code) == ("index-failing", ExitCode.NETWORK)
    assert "503" in problem.what


@pytest.mark.parametrize("bound", [False, True])
def test_the_index_asks_for_a_password_and_i_learn_how_to_give_it(index: LocalIndex, fail: Fail, *, bound: bool):
    index.add("demo", "1.0", to="private")
    private = SecretUrl(index.protect("private", "bob", "s3cretpw"))
    routes = (BoundIndex("corp", private, ("demo",)),) if bound else ()
    problem = fail(plan_of("demo", bound=routes, options=IndexOptions(index_url=SecretUrl(index.url) if bound else private)))
    assert (problem.rule, problem.code) == ("index-asks-for-password", ExitCode.NETWORK)
    assert problem.what == f"{private.reveal()} asked for a user name and a password."
    assert f"https://${{INDEX_USER}}:${{INDEX_TOKEN}}@{index.host}" in (problem.instead or "")
    assert "machine 127.0.0.1 login" in (problem.instead or "")


@pytest.mark.parametrize("bound", [False, True])
def test_the_index_refuses_my_password(index: LocalIndex, fail: Fail, *, bound: bool):
    index.add("demo", "1.0", to="private")
    index.protect("private", "bob", "s3cretpw")
    wrong = SecretUrl(index.url_of("private", user="bob", password="wr0ngpw"))
    routes = (BoundIndex("corp", wrong, ("demo",)),) if bound else ()
    problem = fail(plan_of("demo", bound=routes, options=IndexOptions(index_url=SecretUrl(index.url) if bound else wrong)))
    assert (problem.rule, problem.code) == ("index-asks-for-password", ExitCode.NETWORK)
    assert "refused the credentials" in problem.what
    assert "wr0ngpw" not in repr(problem)


@pytest.mark.parametrize("bound", [False, True])
def test_a_password_of_netrc_opens_the_index_and_its_versions_are_named(index: LocalIndex, fail: Fail, home: Path, *, bound: bool):
    (home / ".netrc").write_text("machine 127.0.0.1 login bob password s3cretpw\n")
    (home / ".netrc").chmod(0o600)
    index.add("demo", "1.0", to="private")
    private = SecretUrl(index.protect("private", "bob", "s3cretpw"))
    routes = (BoundIndex("corp", private, ("demo",)),) if bound else ()
    problem = fail(plan_of("demo==2.0", bound=routes, options=IndexOptions(index_url=SecretUrl(index.url) if bound else private)))
    assert (problem.rule, problem.why) == ("version-not-found", f"{index.host} has 1.0.")


def test_an_extra_index_that_says_forbidden_is_not_passed_over_for_the_public_one(index: LocalIndex, fail: Fail):
    index["extra"].status = 403
    index.add("demo", "1.0")
    options = IndexOptions(index_url=SecretUrl(index.url), extra_index_urls=(SecretUrl(index.url_of("extra")),))
    problem = fail(plan_of("demo", options=options))
    assert (problem.rule, problem.what) == ("index-asks-for-password", f"{index.url_of('extra')} denied access.")


def test_no_room_in_the_temporary_folder(index: LocalIndex, fail: Fail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("lading.resolvers.scratch._places", lambda: [str(tmp_path / "nothing")])
    problem = fail(plan_of("demo", index=index.url))
    assert (problem.rule, problem.code) == ("temporary-folder-unusable", ExitCode.RESOLUTION)
    assert str(tmp_path / "nothing") in problem.what


def test_an_index_that_says_forbidden(index: LocalIndex, fail: Fail):
    index["simple"].status = 403
    problem = fail(plan_of("demo", index=index.url))
    assert (problem.rule, problem.why) == ("index-asks-for-password", "It answered 403.")


def test_offline_and_never_downloaded(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("demo", index=index.url), offline=True)
    assert told(problem) == ("offline-not-cached", "requirements.txt:1", ExitCode.NETWORK)
    assert problem.what.startswith("demo was not downloaded before")
    assert index.requests == []


def test_offline_and_a_url_that_was_never_downloaded(index: LocalIndex, fail: Fail):
    plan = plan_of(f"demo @ {index.url}demo-1.0-py3-none-any.whl", index=index.url)
    assert told(fail(plan, offline=True)) == ("offline-not-cached", "requirements.txt:1", ExitCode.NETWORK)


def test_a_url_with_nothing_behind_it(index: LocalIndex, fail: Fail):
    problem = fail(plan_of(f"demo @ http://{index.host}/files/simple/demo-1.0-py3-none-any.whl", index=index.url))
    assert told(problem) == ("url-not-found", "requirements.txt:1", ExitCode.NETWORK)


def test_a_folder_that_is_not_there(index: LocalIndex, fail: Fail, root: Path):
    problem = fail(plan_of(local("./libs/mine", 3), index=index.url))
    assert told(problem) == ("path-not-found", "requirements.txt:3", ExitCode.RESOLUTION)
    assert problem.what == "There is no ./libs/mine."


def test_a_folder_that_is_no_python_project(index: LocalIndex, fail: Fail, root: Path):
    (root / "data").mkdir()
    problem = fail(plan_of(local("data", 3), index=index.url))
    assert told(problem) == ("no-python-project", "requirements.txt:3", ExitCode.RESOLUTION)
    assert problem.what == "./data is no Python project."


def test_a_wheelhouse_that_is_not_there(index: LocalIndex, fail: Fail):
    options = IndexOptions(index_url=SecretUrl(index.url), find_links=(SecretUrl("./wheels"),))
    assert fail(plan_of("demo", options=options)).rule == "path-not-found"


@pytest.mark.parametrize("place", ["/srv/wheels/demo", "file:///srv/wheels/demo"])
def test_a_folder_of_this_machine_alone_is_refused(index: LocalIndex, fail: Fail, place: str):
    problem = fail(plan_of(local(place, 4, name="demo"), index=index.url))
    assert told(problem) == ("lock-machine-path", "requirements.txt:4", ExitCode.RESOLUTION)


def test_a_wheelhouse_outside_that_the_project_names_is_refused(index: LocalIndex, fail: Fail):
    options = IndexOptions(index_url=SecretUrl(index.url), find_links=(SecretUrl("/srv/wheels"),))
    assert fail(plan_of("demo", options=options)).rule == "lock-machine-path"


def test_a_folder_required_under_another_name(index: LocalIndex, fail: Fail, root: Path):
    write_tree(root / "mine", project("mine", "0.1"))
    problem = fail(plan_of(local("mine", name="yours"), index=index.url))
    assert problem.what == "What is required as yours calls itself mine."


def test_a_branch_that_does_not_exist(index: LocalIndex, fail: Fail, root: Path):
    write_tree(root / "repo", project("mine", "0.1"))
    commit(root / "repo")
    place = f"git+file://{root}/repo@nowhere".replace(" ", "%20")
    problem = fail(plan_of(f"mine @ {place}", index=index.url))
    assert told(problem) == ("git-failed", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.why == "It has no branch, tag or commit nowhere."


def test_a_git_server_that_is_down(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("mine @ git+http://bob:s3cretpw@127.0.0.1:9/mine.git", index=index.url))
    assert told(problem) == ("git-failed", "requirements.txt:1", ExitCode.NETWORK)
    assert "s3cretpw" not in repr(problem)


def test_a_git_server_that_asks_for_a_password_does_not_make_me_wait_at_a_prompt(index: LocalIndex, fail: Fail):
    index.protect("repo", "bob", "s3cretpw")
    problem = fail(plan_of(f"mine @ git+{index.url_of('repo')}mine.git", index=index.url))
    assert told(problem) == ("git-failed", "requirements.txt:1", ExitCode.NETWORK)
    assert "credentials" in (problem.why or "")


def test_mercurial(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("mine @ hg+https://example.org/mine", index=index.url))
    assert told(problem) == ("vcs-not-supported", "requirements.txt:1", ExitCode.USAGE)


def test_an_option_of_a_requirement_that_uv_does_not_know(index: LocalIndex, fail: Fail):
    problem = fail(plan_of(declared("demo", options=(("--global-option", "build_ext"),)), index=index.url))
    assert told(problem) == ("requirement-option-not-supported", "requirements.txt:1", ExitCode.USAGE)


def test_one_package_on_two_indexes(index: LocalIndex, fail: Fail):
    bound = tuple(BoundIndex(name, SecretUrl(index.url_of(name)), ("torch",)) for name in ("cpu", "cu121"))
    assert fail(plan_of("torch", index=index.url, bound=bound)).rule == "two-indexes-for-one-package"


def test_one_package_from_two_urls(index: LocalIndex, fail: Fail):
    places = [index.file_url(index.publish(wheel("demo", version))) for version in ("1.0", "2.0")]
    problem = fail(plan_of(*(f"demo @ {place}" for place in places), index=index.url))
    assert problem.rule == "requirements-conflict"


def test_a_platform_that_nobody_knows(index: LocalIndex, fail: Fail):
    problem = fail(plan_of("demo", index=index.url, target=Target(python="3.11.7", platform="toaster")))
    assert (problem.rule, problem.code) == ("platform-not-supported", ExitCode.USAGE)


@pytest.mark.parametrize(("path", "words"), [("/nonexistent/python", "is not there"), ("/dev/null", "does not run")])
def test_a_python_that_is_gone(index: LocalIndex, root: Path, path: str, words: str):
    with pytest.raises(LadingError) as caught:
        resolve(plan_of("demo", index=index.url), Interpreter(path=path, version="3.11.7"), root)
    assert caught.value.problems[0].rule == "python-does-not-run"
    assert words in caught.value.problems[0].what


def test_words_of_uv_that_nobody_has_seen_before_are_shown_as_they_are(root: Path):
    from lading.model.secrets import Redactor
    from lading.resolvers.cases import Case
    from lading.resolvers.failures import explain

    case = Case(plan=plan_of("demo"), root=root, folder=root, redact=Redactor(), bound=(), offline=True, left_out=False)
    (problem,) = explain(Finished(2, "warning: first\nerror: the moon is full over demo\n"), case)
    assert told(problem) == ("resolving-failed", "requirements.txt:1", ExitCode.RESOLUTION)
    assert problem.detail == "error: the moon is full over demo"
    (disk,) = explain(Finished(2, "error: failed to write\n  cause: No space left on device (os error 28)\n"), case)
    assert disk.rule == "disk-full"
