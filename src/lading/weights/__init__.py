"""Weights that a configuration names: found where they come from, locked by their digests, kept once on a machine.

::

    locking     the table of contents: import, check against the lock, bring what is missing
    placing     links to them in the project's folder
    standing    configuration, lock and machine compared
    sources     a folder, a repository of Hugging Face's hub, a file at an address
    web         HTTP that goes on where it broke
    store       files by their digest
"""
