"""The scope of the running prediction, under the name that Cog up to 0.16 gave it."""

from cog import current_scope

__all__ = ["current_scope"]
