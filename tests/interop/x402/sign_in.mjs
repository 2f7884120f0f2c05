// Buys a POST twice with @x402/fetch and the client extension of @x402/extensions/sign-in-with-x, unmodified, and asks
// for the wallet's receipts. The POST's URL, its body, the payer's key and the receipts' URL come on the command line.
import { x402Client, wrapFetchWithPayment } from '@x402/fetch'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { createSIWxClientExtension } from '@x402/extensions/sign-in-with-x'
import { privateKeyToAccount } from 'viem/accounts'

const [url, body, key, receiptsUrl] = process.argv.slice(2)
const account = privateKeyToAccount(key)
const client = new x402Client().register('eip155:*', new ExactEvmScheme(account))
client.setSpendControls({ allowedAssets: true })
client.registerExtension(createSIWxClientExtension({ signers: [account] }))
const pay = wrapFetchWithPayment(fetch, client)
const ids = []
for (let turn = 0; turn < 2; turn++) {
  const answer = await pay(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  ids.push((await answer.json()).id)
}
const receipts = await (await pay(receiptsUrl)).json()
console.log(JSON.stringify({ ids, receipts }))
