"""Lading: from a machine-learning project's folder to an environment, a service, an image, a deployment."""

from __future__ import annotations

__version__ = "0.1.0"
