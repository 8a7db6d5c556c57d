"""``Input(...)``: what is declared of an input beside its type. The declaration is read from the source; this is its run-time self."""


class FieldInfo:
    """What an ``Input(...)`` says. It cannot be changed."""

    __slots__ = ("accept", "choices", "default", "deprecated", "description", "ge", "le", "max_length", "min_length", "regex")

    def __init__(self, **given):
        for name in FieldInfo.__slots__:
            object.__setattr__(self, name, given.pop(name, None))
        if given:
            raise TypeError(f"FieldInfo() got an unexpected keyword argument {min(given)!r}")

    def __setattr__(self, name, value):
        raise AttributeError(f"cannot assign to field {name!r}")

    def _values(self):
        return tuple(getattr(self, name) for name in FieldInfo.__slots__)

    def __eq__(self, other):
        return self._values() == other._values() if isinstance(other, FieldInfo) else NotImplemented

    __hash__ = None

    def __reduce__(self):
        return (_restore, (dict(zip(FieldInfo.__slots__, self._values())),))

    def __repr__(self):
        return "FieldInfo({})".format(", ".join(f"{name}={value!r}" for name, value in zip(FieldInfo.__slots__, self._values())))


def _restore(values):
    return FieldInfo(**values)


def Input(  # noqa: N802 - Cog's name
    default=None,
    *,
    default_factory=None,
    description=None,
    ge=None,
    le=None,
    min_length=None,
    max_length=None,
    regex=None,
    choices=None,
    deprecated=None,
    accept=None,
):
    """Declare an input of ``predict``: its default, description, limits and choices.

    Raises:
        TypeError: for ``default_factory``, which Cog refuses: the default must be a plain value.
    """
    if default_factory is not None:
        raise TypeError("default_factory is not supported in Input(). Use a literal default value instead: Input(default=...)")
    return FieldInfo(
        default=default,
        description=description,
        ge=ge,
        le=le,
        min_length=min_length,
        max_length=max_length,
        regex=regex,
        choices=choices,
        deprecated=deprecated,
        accept=accept,
    )
