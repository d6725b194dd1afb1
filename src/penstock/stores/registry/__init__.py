"""The registry of versions in a SQL database. The laws are in ports/registry.py."""

from penstock.stores.registry.store import SqlRegistry

__all__ = ["SqlRegistry"]
