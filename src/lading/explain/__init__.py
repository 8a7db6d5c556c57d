"""Decisions, problems, events and plans as text and JSON: the terminal, ``--json``, the lock and labels all show the same records."""
