"""Interpreters, the host, and the store of environments. Import from the modules: this one loads nothing."""
