// LangChain's OpenAI client for JavaScript does what its first argument says, and prints what it saw as JSON.
import { ChatOpenAI } from "@langchain/openai";
import { tool } from "@langchain/core/tools";
import { z } from "zod";

const { model, text, p402 } = JSON.parse(process.argv[3]);
const chat = new ChatOpenAI({
  model,
  apiKey: process.env.API_KEY,
  configuration: { baseURL: process.env.BASE_URL },
  streamUsage: true,
  ...(p402 && { modelKwargs: { p402 } }),
});
const weather = tool(async () => "", { name: "weather", schema: z.object({ city: z.string() }) });

const scenarios = {
  async complete() {
    const answer = await chat.invoke(text);
    return { text: answer.content, tokens: answer.usage_metadata.total_tokens };
  },
  async stream() {
    let whole;
    for await (const part of await chat.stream(text)) whole = whole ? whole.concat(part) : part;
    const { finish_reason: finish } = whole.response_metadata;
    return { text: whole.content, finish, tokens: whole.usage_metadata.total_tokens };
  },
  async tools() {
    const [call] = (await chat.bindTools([weather]).invoke(text)).tool_calls;
    return { name: call.name, arguments: call.args };
  },
  async json() {
    return chat.withStructuredOutput(z.object({ answer: z.number() }), { method: "jsonMode" }).invoke(text);
  },
  async refused() {
    try {
      await chat.invoke(text);
      return "not refused";
    } catch (error) {
      return { class: error.constructor.name, status: error.status, code: error.code };
    }
  },
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
