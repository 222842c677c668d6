"""Finding what is installed: built-ins and third-party entry points by name."""

from evalharness.plugins.registry import Entry, Registry, default_registry

__all__ = ["Entry", "Registry", "default_registry"]
