// OpenAI's own SDK for Node does what its first argument says against BASE_URL, and prints what it saw as JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const { model, text, p402 } = JSON.parse(process.argv[3]);
const asked = { model, messages: [{ role: "user", content: text }], ...(p402 && { p402 }) };
const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

const scenarios = {
  async complete() {
    const answer = await client.chat.completions.create(asked);
    const { cost_usd_exact: cost } = answer.p402_metadata;
    return { text: answer.choices[0].message.content, tokens: answer.usage.total_tokens, cost };
  },
  async stream() {
    const chunks = [];
    const stream = await client.chat.completions.create({
      ...asked,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) chunks.push(chunk);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    return {
      text: choices.map((choice) => choice.delta.content ?? "").join(""),
      finish: choices.at(-1).finish_reason,
      tokens: chunks.at(-1).usage.total_tokens,
      cost: chunks.at(-1).p402_metadata.cost_usd_exact,
    };
  },
  async tools() {
    const answer = await client.chat.completions.create({ ...asked, tools: [weather] });
    const call = answer.choices[0].message.tool_calls[0].function;
    return { name: call.name, arguments: JSON.parse(call.arguments) };
  },
  async json() {
    const answer = await client.chat.completions.create({ ...asked, response_format: { type: "json_object" } });
    return JSON.parse(answer.choices[0].message.content);
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    return ids;
  },
  async refused() {
    try {
      await client.chat.completions.create(asked);
      return "not refused";
    } catch (error) {
      return { class: error.constructor.name, status: error.status, code: error.code };
    }
  },
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
