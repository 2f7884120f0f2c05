// SPDX-License-Identifier: MIT
// Whether a signature is its signer's: a key's by recovery, a contract's by asking it (EIP-1271).
pragma solidity 0.8.28;

interface IContractSigner {
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4);
}

library Signatures {
    bytes4 internal constant ACCEPTED = IContractSigner.isValidSignature.selector;

    /// Half of the curve's order: of the two values of s that recover one key, only the low one is taken (EIP-2).
    uint256 private constant HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    function isValid(address signer, bytes32 digest, bytes memory signature) internal view returns (bool) {
        if (signer.code.length == 0) {
            return recover(digest, signature) == signer;
        }
        (bool answered, bytes memory answer) =
            signer.staticcall(abi.encodeCall(IContractSigner.isValidSignature, (digest, signature)));
        return answered && answer.length >= 32 && abi.decode(answer, (bytes32)) == bytes32(ACCEPTED);
    }

    function recover(bytes32 digest, bytes memory signature) internal pure returns (address signer) {
        require(signature.length == 65, "ECRecover: invalid signature length");
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
            v := byte(0, mload(add(signature, 0x60)))
        }
        require(uint256(s) <= HIGHEST_S, "ECRecover: invalid signature 's' value");
        require(v == 27 || v == 28, "ECRecover: invalid signature 'v' value");
        signer = ecrecover(digest, v, r, s);
        require(signer != address(0), "ECRecover: invalid signature");
    }
}
