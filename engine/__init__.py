"""One engine for LLM work: quote, complete, stream."""
