"""The base classes of predictors, and the decorators of their methods."""

from ._worker import worker_module


class BaseRunner:
    """Base class of predictors: override `setup` to load the model and `run` to answer one request."""

    def setup(self, weights=None):
        """Load the model; called once. ``weights`` is what ``COG_WEIGHTS`` names, for those who ask for it."""

    def run(self, *args, **kwargs):
        """Answer one request; to be overridden. A class that overrides `predict` instead is called through to it."""
        if type(self).predict is not BaseRunner.predict:
            return self.predict(*args, **kwargs)
        raise NotImplementedError("run has not been implemented by parent class.")

    def predict(self, *args, **kwargs):
        """The older name of `run`."""
        if type(self).run is BaseRunner.run:
            raise NotImplementedError("run has not been implemented by parent class.")
        import warnings

        warnings.warn(f"{type(self).__name__}.predict() is deprecated; use run() instead", DeprecationWarning, stacklevel=2)
        return self.run(*args, **kwargs)

    @property
    def scope(self):
        """The scope of the running prediction, as `cog.current_scope` gives it."""
        return worker_module("scope").current()

    def record_metric(self, key, value, mode="replace"):
        """Record a metric of the running prediction: ``mode`` is ``replace``, ``incr`` or ``append``; None deletes it.

        Raises:
            ValueError: if the name breaks Cog's rules.
            TypeError: if the value is of no type that a metric can have, or of another than before.
        """
        self.scope.record_metric(key, value, mode=mode)


class BasePredictor(BaseRunner):
    """The older name of `BaseRunner`."""


def streaming(fn=None):
    """Mark ``run`` as one whose output can be followed piece by piece: ``@streaming`` or ``@streaming()``. Read from the source."""
    return (lambda inner: inner) if fn is None else fn


def concurrent(fn=None, *, max=1):  # noqa: A002 - Cog's name
    """Say how many predictions may run at a time: ``@concurrent(max=4)`` on an ``async def``. Read from the source.

    Raises:
        TypeError: if ``max`` is no whole number, or above 1 for a function that is not asynchronous.
        ValueError: if ``max`` is below 1.
    """
    if isinstance(max, bool) or not isinstance(max, int):
        raise TypeError("concurrent max must be an integer")
    if max < 1:
        raise ValueError("concurrent max must be at least 1")

    def decorate(inner):
        if not callable(inner):
            raise TypeError("concurrent must be used as @concurrent or @concurrent(max=...)")
        if max > 1 and not _is_asynchronous(inner):
            raise TypeError("concurrent max greater than 1 requires an async function")
        inner.__cog_concurrent_max__ = max
        return inner

    return decorate if fn is None else decorate(fn)


def _is_asynchronous(function):
    import inspect

    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
