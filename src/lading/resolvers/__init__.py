"""Resolvers: from a `Plan` to a `Lock`. One module per engine; ``uv`` answers for everything that comes from package indexes."""
