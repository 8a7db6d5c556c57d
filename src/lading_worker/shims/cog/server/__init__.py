"""Names that older predictors import from Cog's own server; the server itself is Lading's."""
