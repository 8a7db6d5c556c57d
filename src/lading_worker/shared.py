"""Memory that the front has, too: large bodies come through it. See ``lading.service.shared``."""

import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_MAPPED = 16 << 20  # bytes: larger blocks are given back at once
_KEPT = 32 << 20


class Region:
    """One slot's region. ``number`` is its descriptor; it stays mapped from the first body on."""

    def __init__(self, number):
        self._number = number
        self._map = None
        os.set_inheritable(number, False)

    def take(self, size):
        """The body that lies at its beginning, as bytes."""
        return bytes(self.view(size))

    def view(self, size):
        """The same without a copy: it is this call's until its answer is sent."""
        if self._map is None or len(self._map) < size:
            import mmap

            if self._map is None:
                keep_memory()
            self._map = mmap.mmap(self._number, os.fstat(self._number).st_size, access=mmap.ACCESS_READ)
        return memoryview(self._map)[:size]


def keep_memory():
    """Let the C library keep some of the memory that is freed: else each large body has it cleared anew by the kernel, page by page."""
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")) for name in os.environ):
        return
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
    except Exception:  # noqa: S110 - no ctypes, or another C library
        pass
