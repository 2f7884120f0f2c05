// Buys with @x402/fetch, unmodified: the POST's URL, its body, the payer's key and the client's version of x402 come on
// the command line.
import { x402Client, wrapFetchWithPayment, decodePaymentResponseHeader } from '@x402/fetch'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/client'
import { privateKeyToAccount } from 'viem/accounts'

const [url, body, key, version] = process.argv.slice(2)
const account = privateKeyToAccount(key)
const client = new x402Client()
if (version === '1') client.registerV1('base-sepolia', new ExactEvmSchemeV1(account))
else client.register('eip155:*', new ExactEvmScheme(account))
client.setSpendControls({ allowedAssets: true })
const pay = wrapFetchWithPayment(fetch, client)
const answer = await pay(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
const text = await answer.text()
const header = version === '1' ? 'X-PAYMENT-RESPONSE' : 'PAYMENT-RESPONSE'
const settled = decodePaymentResponseHeader(answer.headers.get(header))
console.log(JSON.stringify({ status: answer.status, settled, text }))
