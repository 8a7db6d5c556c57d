"""See `cortex_internal.lib.log`."""
