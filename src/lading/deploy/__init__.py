"""Deployments: the same project on an engine that runs services, each engine in one file behind one protocol."""
