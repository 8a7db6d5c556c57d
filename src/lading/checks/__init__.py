"""What can be known about a project before anything runs. One file per check: `check(api or config, files)` -> problems or advice. Pure."""
