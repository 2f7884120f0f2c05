"""The chat completions face beside a bare pass-through, Portkey's gateway and LiteLLM's proxy, in one run."""
