// SPDX-License-Identifier: MIT
// The registry that ties an agent's wallet to an anonymous human, with the door of World's AgentBook.
pragma solidity 0.8.28;

import {IWorldIdRouter} from "./WorldIdRouter.sol";

contract AgentBook {
    error InvalidNonce();

    event AgentRegistered(address indexed agent, uint256 indexed lookupId);

    IWorldIdRouter public worldIdRouter;
    uint256 public groupId;
    uint256 public externalNullifierHash;

    /// The human's id, or zero where the wallet is nobody's.
    mapping(address => uint256) public lookupHuman;
    mapping(address => uint256) public getNextNonce;

    constructor(IWorldIdRouter worldIdRouter_, uint256 groupId_, uint256 externalNullifierHash_) {
        worldIdRouter = worldIdRouter_;
        groupId = groupId_;
        externalNullifierHash = externalNullifierHash_;
    }

    function register(address agent, uint256 root, uint256 nonce, uint256 nullifierHash, uint256[8] calldata proof)
        external
    {
        if (nonce != getNextNonce[agent]) {
            revert InvalidNonce();
        }
        getNextNonce[agent] = nonce + 1;
        lookupHuman[agent] = nullifierHash;
        uint256 signalHash = uint256(keccak256(abi.encodePacked(agent, nonce))) >> 8;
        worldIdRouter.verifyProof(root, groupId, signalHash, nullifierHash, externalNullifierHash, proof);
        emit AgentRegistered(agent, nullifierHash);
    }
}
