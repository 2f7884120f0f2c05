"""Asking for money: what work costs, and how a 402, a task and a signed offer say it. Pure."""
