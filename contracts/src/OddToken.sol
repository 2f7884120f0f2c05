// SPDX-License-Identifier: MIT
// A token like USDC but for its decimals, which are told at birth: for amounts that do not divide well.
pragma solidity 0.8.28;

import {AuthorizedToken} from "./AuthorizedToken.sol";

contract OddToken is AuthorizedToken {
    string public constant override symbol = "ODD";
    uint8 public override decimals;

    constructor(uint8 decimals_) {
        decimals = decimals_;
    }

    function name() public pure override returns (string memory) {
        return "Odd Coin";
    }

    function version() public pure override returns (string memory) {
        return "1";
    }
}
