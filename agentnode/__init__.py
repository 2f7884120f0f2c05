"""The node: composes the rest, and holds what only a node does."""

__version__ = "0.3.0"
