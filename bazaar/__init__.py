"""Listings of what can be hired and paid, and how buyers find it."""

from bazaar.catalog import Bazaar
from bazaar.errors import ListingRefused

__all__ = ["Bazaar", "ListingRefused"]
