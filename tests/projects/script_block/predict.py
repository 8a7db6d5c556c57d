# /// script
# requires-python = ">=3.10"
# dependencies = [
#   "numpy==2.0.0",
#   "torch==2.4.1",
# ]
#
# [tool.uv.sources]
# torch = { index = "pytorch-cpu" }
#
# [[tool.uv.index]]
# name = "pytorch-cpu"
# url = "https://download.pytorch.org/whl/cpu"
# explicit = true
# ///
"""Doubles a number."""


def predict(number: int = 1) -> int:
    return 2 * number
