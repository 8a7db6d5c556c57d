"""Readers: one module per file format, text in, values out.

The seam. A dependency format is a module with

* ``name``: what the format is called in plans and locks (``requirements.txt``);
* ``recognises(path)``: whether a file of this name is written in it;
* ``parse(path, files)``: the file, and every file that it includes, as one `lading.model.requirements.Declaration`.

A project's configuration (``cog.yaml``, ``cortex.yaml``) is read by ``parse_config(path, files)``, which answers a
`lading.model.project.ProjectConfig`. Readers that expand ``${VARIABLES}`` take the variables as ``environ``; none is read from the process.

Every reader raises `lading.model.problems.LadingError` with *all* problems of a file at once, and raises nothing else, whatever the bytes.
Readers never import one another; what they share lives in modules whose names begin with an underscore. `known` lists the files that
declare dependencies in formats that no module here reads yet, so that the planner can refuse or name them.
"""
