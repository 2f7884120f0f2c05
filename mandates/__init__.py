"""Signed spending authority: who may spend how much, on what, with whom, until when."""

from mandates.issue import Authority
from mandates.mandates import Mandates
from mandates.use_request import UseRequest
from mandates.uses import AuthorizedUse

__all__ = ["Authority", "AuthorizedUse", "Mandates", "UseRequest"]
