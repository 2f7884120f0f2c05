"""Settling on chain: the journal, the queue that brings its entries to an end, and what is asked of the chain after."""
