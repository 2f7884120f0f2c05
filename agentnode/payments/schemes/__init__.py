"""How a payment is proved and moved: one module a scheme, each over the `x402` package."""
