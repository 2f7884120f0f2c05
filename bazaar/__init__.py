"""Listings of what can be hired and paid, and how buyers find it."""
