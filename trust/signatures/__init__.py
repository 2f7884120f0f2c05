"""Who said it: signatures made and checked (EIP-712, JWS) and the DIDs that name their keys.

Used by module: `from trust.signatures import eip712, jws, didkey, didpkh, secp256k1`.
"""
