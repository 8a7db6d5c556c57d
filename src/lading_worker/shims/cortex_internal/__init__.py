"""Names that Cortex predictors import from Cortex's own package; its server is Lading's."""
