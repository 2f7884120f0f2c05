// Buys a POST and checks with @x402/extensions, unmodified, what the seller signed of its price and its delivery.
import { x402Client, wrapFetchWithPayment, decodePaymentResponseHeader } from '@x402/fetch'
import { decodePaymentRequiredHeader } from '@x402/core/http'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import * as terms from '@x402/extensions/offer-receipt'
import { privateKeyToAccount } from 'viem/accounts'

const [url, body, key] = process.argv.slice(2)
const account = privateKeyToAccount(key)
const client = new x402Client().register('eip155:*', new ExactEvmScheme(account))
client.setSpendControls({ allowedAssets: true })
const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body }

const asked = await fetch(url, request)
const required = decodePaymentRequiredHeader(asked.headers.get('PAYMENT-REQUIRED'))
const [offer] = terms.decodeSignedOffers(terms.extractOffersFromPaymentRequired(required))
const offered = await terms.verifyOfferSignatureJWS(offer.signedOffer)
const accepted = terms.findAcceptsObjectFromSignedOffer(offer, required.accepts)

const answer = await wrapFetchWithPayment(fetch, client)(url, request)
const settled = decodePaymentResponseHeader(answer.headers.get('PAYMENT-RESPONSE'))
const receipt = terms.extractReceiptFromResponse(answer)
const delivered = await terms.verifyReceiptSignatureJWS(receipt)
const matches = terms.verifyReceiptMatchesOffer(receipt, offer, [account.address])
console.log(JSON.stringify({ offered, accepted, delivered, matches, settled }))
