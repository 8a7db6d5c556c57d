"""Writing values of a class of one's own as JSON: ``Coder.register`` makes a coder known for outputs."""


class Coder:
    """Base class of coders. ``factory(type)`` gives a coder for the types that it can write, None for others."""

    _coders = []

    @staticmethod
    def register(coder):
        """Make a coder class known."""
        if coder not in Coder._coders:
            Coder._coders.append(coder)

    @staticmethod
    def lookup(tpe):
        """A coder for a type; None if there is none."""
        for kind in Coder._coders:
            coder = kind.factory(tpe)
            if coder is not None:
                return coder
        return None

    @staticmethod
    def factory(tpe):
        """A coder for a type, or None; to be overridden."""
        raise NotImplementedError

    def encode(self, x):
        """The value as a dict of JSON; to be overridden."""
        raise NotImplementedError

    def decode(self, x):
        """The value that `encode` wrote; to be overridden."""
        raise NotImplementedError
