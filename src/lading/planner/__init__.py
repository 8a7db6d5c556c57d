"""From what a project declares, and a target, to a `Plan`: which files count, which Python, which indexes, which builds. Pure."""
