import os

from setuptools import setup

required = ["numpy==2.0.0"]
if os.environ.get("WITH_TORCH"):
    required.append("torch==2.4.1")

setup(name="doubler", version="0.1", py_modules=["predict"], install_requires=required)
