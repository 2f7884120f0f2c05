"""Who said it, and may we call it: keys, signatures, a read-only view of a chain, the one guarded client."""
