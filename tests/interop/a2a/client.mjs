// One scenario of the official JavaScript client: node client.mjs ORIGIN BINDING SCENARIO; prints what it saw as JSON.
import { ClientFactory, JsonRpcTransportFactory, RestTransportFactory } from '@a2a-js/sdk/client';

const [origin, binding, scenario] = process.argv.slice(2);
const transports = { 'JSONRPC': new JsonRpcTransportFactory(), 'HTTP+JSON': new RestTransportFactory() };
const factory = () => new ClientFactory({ transports: [transports[binding]], preferredTransports: [binding] });
const client = await factory().createFromUrl(origin);

const STATES = { 1: 'submitted', 2: 'working', 3: 'completed', 4: 'failed', 5: 'canceled', 6: 'input-required' };
const message = (id) => ({
  message: { messageId: `${id}-${binding}-${Date.now()}`, role: 1, parts: [{ content: { $case: 'text', value: 'x' } }] },
});
const texts = (artifact) => artifact.parts.map((part) => part.content.value).join('');
const shown = ({ payload: { $case, value } }) =>
  $case === 'artifactUpdate' ? texts(value.artifact) : `${$case} ${STATES[value.status.state]}`;

async function* following(other) {
  // A long task, and what happens once it is known.
  let begun = false;
  for await (const event of client.sendMessageStream(message('test-resubscribe-message-id'))) {
    yield shown(event);
    if (!begun && event.payload.$case === 'artifactUpdate') {
      begun = true;
      await other(event.payload.value.taskId);
    }
  }
}

const seen = [];
const scenarios = {
  async complete() {
    const task = await client.sendMessage(message('tck-artifact-text'));
    const again = await client.getTask({ id: task.id });
    seen.push(STATES[task.status.state], texts(again.artifacts[0]));
  },
  async stream() {
    for await (const event of client.sendMessageStream(message('tck-stream-artifact-chunked'))) seen.push(shown(event));
  },
  async cancel() {
    const second = await factory().createFromUrl(origin);
    for await (const each of following((id) => second.cancelTask({ id }))) seen.push(each);
  },
  async subscribe() {
    const second = await factory().createFromUrl(origin);
    let heard = [];
    let listening;
    const listen = async (id) => {
      for await (const event of second.resubscribeTask({ id })) heard.push(shown(event));
    };
    for await (const _ of following((id) => { listening = listen(id); }));
    await listening;
    seen.push(...heard);
  },
};
await scenarios[scenario]();
console.log(JSON.stringify(seen));
