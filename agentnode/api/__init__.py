"""HTTP routes, one file a noun; each only calls doors. Errors are rendered in one place."""
