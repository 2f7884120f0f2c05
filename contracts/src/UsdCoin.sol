// SPDX-License-Identifier: MIT
// The embedded chain's USDC: what Circle's token does for a payer and a payee, without its administration.
pragma solidity 0.8.28;

import {AuthorizedToken} from "./AuthorizedToken.sol";

contract UsdCoin is AuthorizedToken {
    string public constant currency = "USD";
    string public constant override name = "USD Coin";
    string public constant override version = "2";
    string public constant override symbol = "USDC";
    uint8 public constant override decimals = 6;

    function _domainHashes() internal pure override returns (bytes32, bytes32) {
        return (keccak256(bytes(name)), keccak256(bytes(version)));
    }
}
