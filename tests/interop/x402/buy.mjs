// Buys with @x402/fetch, unmodified: the POST's URL, its body and the payer's key come on the command line.
import { x402Client, wrapFetchWithPayment, decodePaymentResponseHeader } from '@x402/fetch'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { privateKeyToAccount } from 'viem/accounts'

const [url, body, key] = process.argv.slice(2)
const client = new x402Client().register('eip155:*', new ExactEvmScheme(privateKeyToAccount(key)))
client.setSpendControls({ allowedAssets: true })
const pay = wrapFetchWithPayment(fetch, client)
const answer = await pay(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
const text = await answer.text()
const settled = decodePaymentResponseHeader(answer.headers.get('PAYMENT-RESPONSE'))
console.log(JSON.stringify({ status: answer.status, settled, text }))
