// SPDX-License-Identifier: MIT
// A token like USDC but for its decimals, which are told at birth: for amounts that do not divide well.
pragma solidity 0.8.28;

import {AuthorizedToken} from "./AuthorizedToken.sol";

contract OddToken is AuthorizedToken {
    string public constant override name = "Odd Coin";
    string public constant override version = "1";
    string public constant override symbol = "ODD";
    uint8 public override decimals;

    constructor(uint8 decimals_) {
        decimals = decimals_;
    }

    function _domainHashes() internal pure override returns (bytes32, bytes32) {
        return (keccak256(bytes(name)), keccak256(bytes(version)));
    }
}
