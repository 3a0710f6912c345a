"""Steering: a model writes while directions are added to its states, each row with its own."""

from probekit.steering.sample import Sample

__all__ = ["Sample"]
