"""Container images without a container engine: from a lock to an OCI image, and to a registry, an archive or a running container.

::

    build                   the table of contents: base + locked packages + project -> image
    layers, wheels, splice, folders, bytecode, source, project, front, interpreters, system, steps      what becomes a layer, and how
    manifest, labels, sbom  what is written about it
    store, base, layout, registry, archive                      where layers and images come from and go to
    contents, treemap, report                                   what is in an image
    engines, running, unpacked                                  running one
    reference, media, tar, arrange, secrets, dockerfile         pure parts
"""
