"""The decorator of predictors that take many requests in one call."""


def batched(fn=None, *, max_batch_size=32, max_latency=0.01):
    """Let ``predict`` get the inputs of up to ``max_batch_size`` requests at once, as lists, and return a list of as many outputs.

    ::

        @lading.batched(max_batch_size=32, max_latency=0.01)
        def predict(self, text: list[str]) -> list[float]: ...

    Each request still gives one ``text`` and gets one number. A request that finds the model idle does not wait; while it is busy requests
    gather. ``max_latency`` (seconds) is the longest that a request waits for others when the last batch showed that others are coming.
    Read from the source; here nothing is changed but what is wrong.

    Raises:
        TypeError: if ``max_batch_size`` is no whole number or ``max_latency`` no number.
        ValueError: if ``max_batch_size`` is not from 1 to 1024 or ``max_latency`` is below 0.
    """
    if isinstance(max_batch_size, bool) or not isinstance(max_batch_size, int):
        raise TypeError("max_batch_size must be an integer")
    if isinstance(max_latency, bool) or not isinstance(max_latency, (int, float)):
        raise TypeError("max_latency must be a number of seconds")
    if not 1 <= max_batch_size <= 1024:
        raise ValueError("max_batch_size must be from 1 to 1024")
    if not max_latency >= 0:
        raise ValueError("max_latency must be at least 0")
    return (lambda inner: inner) if fn is None else fn
