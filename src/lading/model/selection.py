"""Which optional parts of a project's dependencies are wanted."""

from __future__ import annotations

from lading.model.origin import Origin
from lading.model.records import dataclass

Asked = tuple[tuple[str, Origin], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Extras (PEP 621's optional dependencies) and dependency groups (PEP 735): canonical names, each with the place that asks for it."""

    extras: Asked = ()
    groups: Asked = ()

    def __bool__(self) -> bool:
        return bool(self.extras or self.groups)

    def __or__(self, other: Selection) -> Selection:
        """Both; of a name that is in both, the first place counts."""
        return Selection(extras=_together(self.extras, other.extras), groups=_together(self.groups, other.groups))

    @property
    def extra_names(self) -> tuple[str, ...]:
        """The extras without their places."""
        return tuple(name for name, _ in self.extras)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups without their places."""
        return tuple(name for name, _ in self.groups)


def _together(first: Asked, second: Asked) -> Asked:
    return tuple({**dict(second), **dict(first)}.items()) if first and second else first or second


DEFAULT = Selection()
"""What is installed unasked: no extra, and no group but ``lading`` and the tool's own default ones."""
