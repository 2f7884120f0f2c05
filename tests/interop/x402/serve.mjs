// A resource server as others write it: Hono with @x402/hono, unmodified. Facilitator's URL, token and payee come on the
// command line; it prints `ready URL`.
import { serve } from '@hono/node-server'
import { HTTPFacilitatorClient } from '@x402/core/server'
import { ExactEvmScheme } from '@x402/evm/exact/server'
import { paymentMiddleware, x402ResourceServer } from '@x402/hono'
import { Hono } from 'hono'

const [facilitator, asset, payTo] = process.argv.slice(2)
const network = 'eip155:31337'
const price = { amount: '10000', asset, extra: { name: 'USD Coin', version: '2' } }
const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator })).register(network, new ExactEvmScheme())

const app = new Hono()
app.use(paymentMiddleware({ 'POST /report': { accepts: { scheme: 'exact', payTo, price, network } } }, server))
app.post('/report', async (context) => context.json({ report: `on ${(await context.req.json()).about}` }))
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => console.log(`ready http://127.0.0.1:${port}`))
