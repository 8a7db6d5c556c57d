"""``Annotated[T, Opaque]``: T is passed through as JSON."""


class _Opaque:
    def __repr__(self):
        return "cog.Opaque"


Opaque = _Opaque()
