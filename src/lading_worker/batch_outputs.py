"""What a batched predictor may return."""


class WrongOutputs(ValueError):  # noqa: N818 - not an error of Python's kind, a property of what was returned
    """There is not one output for each input of a batch."""


def check_outputs(value, count, where):
    """The outputs of a batch of ``count`` inputs as a list: of a list, a tuple, an array.

    Raises:
        WrongOutputs: if they are not as many, or no outputs at all; ``where`` is the function that returned them.
    """
    if isinstance(value, (str, bytes, dict)) or not hasattr(type(value), "__len__") or not hasattr(type(value), "__iter__"):
        kind = type(value).__name__
        raise WrongOutputs(f"{where} returned {kind}; a batched predictor returns a list with one output for each input")
    outputs = list(value)
    if len(outputs) != count:
        raise WrongOutputs(f"{where} returned {len(outputs)} outputs for a batch of {count} inputs")
    return outputs
