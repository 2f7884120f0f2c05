"""Keeping and giving back: receipts, what they have left, tasks that they pay for, refunds."""
