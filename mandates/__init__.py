"""Signed spending authority: who may spend how much, on what, with whom, until when."""

from mandates.issue import Authority
from mandates.mandates import Mandates
from mandates.terms import Terms, completed_as_asked
from mandates.use_request import UseRequest
from mandates.uses import AuthorizedUse

__all__ = ["Authority", "AuthorizedUse", "Mandates", "Terms", "UseRequest", "completed_as_asked"]
