"""What environment markers (PEP 508) are about, for a target that need not be this machine."""

from __future__ import annotations

from lading.model.target import Target


def marker_environment(target: Target) -> dict[str, str]:
    """The variables of markers on the target, no extra asked for. What no target tells (the kernel's release) is empty."""
    system, machine = _system(target.platform)
    return {
        "python_version": ".".join(target.python.split(".")[:2]),
        "python_full_version": target.python,
        "implementation_name": target.implementation,
        "implementation_version": target.python,
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(target.implementation, target.implementation),
        "platform_machine": machine,
        "platform_system": system,
        "sys_platform": "win32" if system == "Windows" else system.lower(),
        "os_name": "nt" if system == "Windows" else "posix",
        "platform_release": "",
        "platform_version": "",
        "extra": "",
    }


def marker_holds(marker: str, target: Target, extras: tuple[str, ...] = ()) -> bool:
    """Whether a marker is true on the target, for one of the extras that are asked for if there are any."""
    from packaging.markers import Marker  # noqa: PLC0415 -- 10 ms, and most requirements have no marker

    environment = marker_environment(target)
    return any(Marker(marker).evaluate({**environment, "extra": extra}) for extra in extras or ("",))


def _system(platform: str) -> tuple[str, str]:
    architecture, _, rest = platform.partition("-")
    if rest.startswith("apple"):
        return "Darwin", "arm64" if architecture == "aarch64" else architecture
    if "windows" in rest:
        return "Windows", "AMD64" if architecture == "x86_64" else architecture.upper()
    return "Linux", architecture
