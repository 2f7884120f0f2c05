// SPDX-License-Identifier: MIT
// The embedded chain's USDC: what Circle's token does for a payer and a payee, without its administration.
pragma solidity 0.8.28;

import {AuthorizedToken} from "./AuthorizedToken.sol";

contract UsdCoin is AuthorizedToken {
    string public constant currency = "USD";
    string public constant override symbol = "USDC";
    uint8 public constant override decimals = 6;

    function name() public pure override returns (string memory) {
        return "USD Coin";
    }

    function version() public pure override returns (string memory) {
        return "2";
    }
}
