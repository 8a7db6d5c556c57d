from setuptools import setup

setup(name="doubler", version="0.1", py_modules=[])
