"""Listings of what can be hired and paid, and how buyers find it."""

from bazaar.catalog import Bazaar, CardReader
from bazaar.errors import ListingRefused
from bazaar.tables import Listing

__all__ = ["Bazaar", "CardReader", "Listing", "ListingRefused"]
