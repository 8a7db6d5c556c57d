from setuptools import find_packages, setup

REQUIRED = [
    "numpy==2.0.0",
    "pillow>=10",
]

setup(
    name="doubler",
    version="0.1",
    packages=find_packages(),
    python_requires=">=3.9",
    install_requires=REQUIRED + ["requests"],
    extras_require={"dev": ["pytest"]},
)
