"""Pushes: what happens to a task is sent to the URLs that its caller named, signed, in order, until it arrives."""

from agentnode.push.configs import PushConfig, PushConfigs, Told
from agentnode.push.errors import PushMissing, PushRefused
from agentnode.push.sender import Body, PushSender

__all__ = ["Body", "PushConfig", "PushConfigs", "PushMissing", "PushRefused", "PushSender", "Told"]
