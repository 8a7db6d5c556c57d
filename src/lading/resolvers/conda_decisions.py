"""What is decided about conda packages while they are resolved, and what their lists lack."""

from __future__ import annotations

from lading.model.conda import ChannelUrl, CondaPlan, MatchSpec
from lading.model.decisions import Decision, Kind
from lading.model.problems import ExitCode, Problem


def not_here(absent: list[MatchSpec], conda: CondaPlan) -> Decision:
    """Packages of a frozen list that exist on its own platform alone."""
    names = ", ".join(spec.name for spec in absent)
    return Decision(
        rule="conda-packages-of-another-platform",
        kind=Kind.CHOSEN,
        subject="conda",
        asked=names,
        chose="they are left out",
        because=f"the list was made on {conda.frozen_on}, and no channel has packages of these names for {conda.platform}",
        origin=absent[0].origin,
        instead=f"the names of their counterparts on {conda.platform}, if the predictor needs them",
    )


def relaxed(channels: list[str], conda: CondaPlan) -> Decision:
    """The order of channels was not kept to, as nothing fits otherwise."""
    return Decision(
        rule="conda-priority-relaxed",
        kind=Kind.CHOSEN,
        subject="channels",
        asked=", then ".join(str(ChannelUrl(channel)) for channel in channels),
        chose="packages of weaker channels too, where the first one that has them has no version that fits",
        because="channel_priority is flexible, as it is for conda unless it is configured otherwise",
        origin=conda.specs[0].origin if conda.specs else None,
        instead="channel_priority: strict in a .condarc, and CHANNEL::PACKAGE for what must come from one channel",
    )


def build_dropped(spec: MatchSpec, builds: list[str], platform: str) -> Decision:
    """A frozen build that is not there; ``builds`` are those that are."""
    return Decision(
        rule="conda-builds-dropped",
        kind=Kind.CHOSEN,
        subject=spec.name,
        asked=str(spec.raw).strip(),
        chose=f"{spec.name} {spec.version} in a build for {platform}",
        because=f"no channel has the build {spec.build} for {platform}; there are {', '.join(builds[:5])}",
        origin=spec.origin,
        instead=f"{spec.name}={spec.version.removeprefix('==')}={builds[0]}",
    )


def no_python(conda: CondaPlan, specs: tuple[MatchSpec, ...]) -> Problem:
    """A list that is complete, and has no interpreter."""
    return Problem(
        rule="conda-without-python",
        what=f"The list of conda packages for {conda.platform} holds no Python.",
        origin=specs[0].origin if specs else None,
        why="After @EXPLICIT nothing is added, and the predictor needs an interpreter.",
        instead="Make the list from an environment that has python in it.",
        code=ExitCode.RESOLUTION,
    )


def no_such_file(spec: MatchSpec) -> Problem:
    """A file of a list without hashes that is not in the channel any more."""
    return Problem(
        rule="conda-package-not-found",
        what=f"The channel does not have {spec.url} any more, and the list tells no hash of it.",
        origin=spec.origin,
        instead="Make the list anew with `conda list --explicit --sha256`.",
        code=ExitCode.RESOLUTION,
    )
