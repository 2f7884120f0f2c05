"""Who checks and moves a payment: this node itself, behind the three verbs of x402 (verify, settle, supported)."""
