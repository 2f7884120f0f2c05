// SPDX-License-Identifier: MIT
// A stand-in for the World ID router: its "proof" is the hash of what it proves, so anyone can make a right one.
pragma solidity 0.8.28;

interface IWorldIdRouter {
    function verifyProof(
        uint256 root,
        uint256 groupId,
        uint256 signalHash,
        uint256 nullifierHash,
        uint256 externalNullifierHash,
        uint256[8] calldata proof
    ) external view;
}

contract WorldIdRouter is IWorldIdRouter {
    error InvalidProof();

    /// A proof made for other inputs is refused, as the real router would; the other seven words are not looked at.
    function verifyProof(
        uint256 root,
        uint256 groupId,
        uint256 signalHash,
        uint256 nullifierHash,
        uint256 externalNullifierHash,
        uint256[8] calldata proof
    ) external pure {
        bytes32 inputs = keccak256(abi.encode(root, groupId, signalHash, nullifierHash, externalNullifierHash));
        if (nullifierHash == 0 || proof[0] != uint256(inputs)) {
            revert InvalidProof();
        }
    }
}
