"""Proof that outlives the node: collected from all rooms, sealed, and checked by anybody."""
