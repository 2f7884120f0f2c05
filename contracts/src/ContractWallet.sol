// SPDX-License-Identifier: MIT
// A wallet that is a contract: it signs by EIP-1271 with its owner's key and acts at its owner's word.
pragma solidity 0.8.28;

import {IContractSigner, Signatures} from "./Signatures.sol";

contract ContractWallet is IContractSigner {
    bytes4 private constant REFUSED = 0xffffffff;

    address public owner;

    constructor(address owner_) {
        owner = owner_;
    }

    receive() external payable {}

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) {
            return REFUSED;
        }
        return Signatures.recover(digest, signature) == owner ? Signatures.ACCEPTED : REFUSED;
    }

    function execute(address to, uint256 value, bytes calldata data) external returns (bytes memory answer) {
        require(msg.sender == owner, "ContractWallet: caller is not the owner");
        bool done;
        (done, answer) = to.call{value: value}(data);
        if (!done) {
            assembly {
                revert(add(answer, 0x20), mload(answer))
            }
        }
    }
}
