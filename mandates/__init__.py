"""Signed spending authority: who may spend how much, on what, with whom, until when."""
