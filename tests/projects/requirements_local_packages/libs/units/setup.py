from setuptools import setup

setup(name="units", version="0.1", py_modules=[])
