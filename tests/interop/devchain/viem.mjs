// Reads and writes the chain with viem; prints what it saw as one JSON document. Arguments: RPC URL, artefacts folder.
import { readFileSync } from 'node:fs'
import {
  BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, erc20Abi, http, parseEther, parseEventLogs,
} from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'

const [url, artifacts] = process.argv.slice(2)
const info = await (await fetch(`${url}/info`)).json()
const artifact = (name) => JSON.parse(readFileSync(`${artifacts}/${name}.json`, 'utf8'))
const chain = defineChain({
  id: info.chain_id,
  name: 'devchain',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [url] } },
  contracts: { multicall3: { address: info.multicall.address } },
})
const reader = createPublicClient({ chain, transport: http(url, { batch: true }), pollingInterval: 50 })
const payer = privateKeyToAccount(info.accounts[4].private_key)
const writer = createWalletClient({ account: payer, chain, transport: http(url) })
const payee = privateKeyToAccount(generatePrivateKey()).address
const usdc = { address: info.usdc.address, abi: artifact('UsdCoin').abi }
const seen = {}

seen.chainId = await reader.getChainId()
seen.sameBlock = (await reader.getBlock()).hash === (await reader.getBlock({ includeTransactions: true })).hash
seen.pendingAboveHead = (await reader.getBlock({ blockTag: 'pending' })).number === (await reader.getBlockNumber()) + 1n

const watched = await reader.createContractEventFilter({ ...usdc, eventName: 'Transfer', args: { to: payee } })
const { request } = await reader.simulateContract({ ...usdc, functionName: 'transfer', args: [payee, 5n], account: payer })
const transfer = await reader.waitForTransactionReceipt({ hash: await writer.writeContract(request) })
seen.transfer = transfer.status
seen.filtered = (await reader.getFilterChanges({ filter: watched })).map((log) => log.args.value.toString())
seen.ether = (await reader.waitForTransactionReceipt({
  hash: await writer.sendTransaction({ to: payee, value: parseEther('0.5') }),
})).gasUsed.toString()

const message = {
  from: payer.address, to: payee, value: 7n, validAfter: 0n,
  validBefore: BigInt(Math.floor(Date.now() / 1000) + 300), nonce: generatePrivateKey(),
}
const typed = {
  domain: { name: info.usdc.name, version: info.usdc.version, chainId: info.chain_id, verifyingContract: usdc.address },
  types: { TransferWithAuthorization: [
    ['from', 'address'], ['to', 'address'], ['value', 'uint256'], ['validAfter', 'uint256'], ['validBefore', 'uint256'], ['nonce', 'bytes32'],
  ].map(([name, type]) => ({ name, type })) },
  primaryType: 'TransferWithAuthorization',
  message,
}
const signature = await payer.signTypedData(typed)
const authorized = { ...usdc, functionName: 'transferWithAuthorization', args: [...Object.values(message), signature] }
const settled = await reader.waitForTransactionReceipt({ hash: await writer.writeContract(authorized) })
seen.authorizationUsed = parseEventLogs({ abi: usdc.abi, logs: settled.logs, eventName: 'AuthorizationUsed' })[0].args.nonce === message.nonce
try {
  await reader.simulateContract({ ...authorized, account: payer })
} catch (error) {
  seen.replay = error.walk((cause) => cause instanceof ContractFunctionRevertedError).reason
}

const owner = privateKeyToAccount(info.accounts.find((a) => a.address === info.wallet.owner).private_key)
const walletSigned = await owner.signTypedData(typed)
seen.contractWallet = await reader.verifyTypedData({ ...typed, address: info.wallet.address, signature: walletSigned })
seen.contractWalletStranger = await reader.verifyTypedData({ ...typed, address: info.wallet.address, signature })
seen.keyWallet = await reader.verifyTypedData({ ...typed, address: payer.address, signature })

const compiled = artifact('ContractWallet')
const deployed = await reader.waitForTransactionReceipt({
  hash: await writer.deployContract({ abi: compiled.abi, bytecode: compiled.creation, args: [payee] }),
})
seen.deployedOwner = (await reader.readContract({ address: deployed.contractAddress, abi: compiled.abi, functionName: 'owner' })) === payee

const balance = { address: usdc.address, abi: erc20Abi, functionName: 'balanceOf', args: [payee] }
seen.multicall = (await reader.multicall({ contracts: [balance, { ...balance, functionName: 'symbol', args: [] }] })).map((each) => String(each.result))
seen.logs = (await reader.getContractEvents({ ...usdc, eventName: 'Transfer', args: { to: payee }, fromBlock: 0n })).map((log) => log.args.value.toString())
seen.feeHistory = (await reader.getFeeHistory({ blockCount: 2, rewardPercentiles: [50] })).baseFeePerGas.length
seen.code = (await reader.getCode({ address: usdc.address })).toLowerCase() === artifact('UsdCoin').runtime
try {
  await reader.request({ method: 'eth_unheardOf' })
} catch (error) {
  seen.unknown = error instanceof BaseError ? error.code : null
}
console.log(JSON.stringify(seen))
