"""What a node without a chain loads of trust."""

from __future__ import annotations

import subprocess
import sys


def test_no_ethereum_library_is_loaded_before_it_is_used() -> None:
    """Importing every module of trust loads none of eth_account, eth_utils and coincurve, which slow a start."""
    script = (
        "import sys, trust.keys, trust.keystore, trust.web, trust.chain, trust.chain_records\n"
        "from trust.signatures import didkey, didpkh, eip712, jws, secp256k1\n"
        "print([name for name in ('eth_account', 'eth_utils', 'coincurve', 'web3') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
