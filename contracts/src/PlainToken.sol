// SPDX-License-Identifier: MIT
// A token without EIP-3009 or permits, as USDT on Base is: paid by a transfer or an approval only.
pragma solidity 0.8.28;

import {Erc20} from "./Erc20.sol";

contract PlainToken is Erc20 {
    string public constant override name = "Tether USD";
    string public constant override symbol = "USDT";
    uint8 public constant override decimals = 6;
}
