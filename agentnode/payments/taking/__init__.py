"""Checking and taking a payment: for a task, for a request over HTTP, once; and who signs in as its payer."""
