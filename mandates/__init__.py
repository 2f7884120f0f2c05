"""Signed spending authority: who may spend how much, on what, with whom, until when."""

from mandates.mandates import Mandates
from mandates.terms import Terms, completed_as_asked
from mandates.use_request import UseRequest

__all__ = ["Mandates", "Terms", "UseRequest", "completed_as_asked"]
