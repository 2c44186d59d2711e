// Reads answers with the providers' own client libraries and prints what they understood, one JSON
// line per call. The first argument is the base URL of the model door.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { GoogleGenAI } from "@google/genai";

const base = process.argv[2];
const anthropic = new Anthropic({ baseURL: `${base}/anthropic`, apiKey: "none", maxRetries: 0 });
const openai = new OpenAI({ baseURL: `${base}/openai/v1`, apiKey: "none", maxRetries: 0 });
const gemini = new GoogleGenAI({ apiKey: "none", httpOptions: { baseUrl: `${base}/gemini` } });

const parameters = { type: "object", properties: { path: { type: "string" } } };
const messages = [{ role: "user", content: "hello" }];
const tool = (name, input) => ({ name, input });

function fromAnthropic(message) {
  return {
    text: message.content.filter((block) => block.type === "text").map((block) => block.text).join(""),
    tools: message.content.filter((block) => block.type === "tool_use").map((block) => tool(block.name, block.input)),
    usage: [message.usage.input_tokens, message.usage.output_tokens, message.usage.cache_read_input_tokens],
    stop: message.stop_reason,
  };
}

function fromChat(completion) {
  const choice = completion.choices[0];
  const usage = completion.usage;
  const cached = usage.prompt_tokens_details.cached_tokens;
  return {
    text: choice.message.content,
    tools: choice.message.tool_calls.map((call) => tool(call.function.name, JSON.parse(call.function.arguments))),
    usage: [usage.prompt_tokens - cached, usage.completion_tokens, cached],
    stop: choice.finish_reason,
  };
}

function fromResponse(response) {
  const usage = response.usage;
  const cached = usage.input_tokens_details.cached_tokens;
  return {
    text: response.output_text,
    tools: response.output
      .filter((item) => item.type === "function_call")
      .map((item) => tool(item.name, JSON.parse(item.arguments))),
    usage: [usage.input_tokens - cached, usage.output_tokens, cached],
    stop: response.status,
  };
}

function fromGemini(chunks) {
  const last = chunks[chunks.length - 1];
  const cached = last.usageMetadata.cachedContentTokenCount;
  const parts = chunks.flatMap((chunk) => chunk.candidates[0].content.parts);
  return {
    text: parts.map((part) => part.text ?? "").join(""),
    tools: chunks.flatMap((chunk) => chunk.functionCalls ?? []).map((call) => tool(call.name, call.args)),
    usage: [last.usageMetadata.promptTokenCount - cached, last.usageMetadata.candidatesTokenCount, cached],
    stop: last.candidates[0].finishReason,
  };
}

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

const anthropicRequest = {
  model: "claude",
  max_tokens: 100,
  messages,
  tools: [{ name: "read", input_schema: parameters }],
};
const chatRequest = { model: "gpt", messages, tools: [{ type: "function", function: { name: "read", parameters } }] };
const responseRequest = {
  model: "gpt",
  input: "hello",
  tools: [{ type: "function", name: "read", parameters, strict: false }],
};
const geminiRequest = {
  model: "gemini",
  contents: "hello",
  config: { tools: [{ functionDeclarations: [{ name: "read", parametersJsonSchema: parameters }] }] },
};

const calls = {
  "anthropic whole": async () => fromAnthropic(await anthropic.messages.create(anthropicRequest)),
  "anthropic stream": async () => fromAnthropic(await anthropic.messages.stream(anthropicRequest).finalMessage()),
  "chat whole": async () => fromChat(await openai.chat.completions.create(chatRequest)),
  "chat stream": async () => {
    const request = { ...chatRequest, stream_options: { include_usage: true } };
    return fromChat(await openai.chat.completions.stream(request).finalChatCompletion());
  },
  "responses whole": async () => fromResponse(await openai.responses.create(responseRequest)),
  "responses stream": async () => fromResponse(await openai.responses.stream(responseRequest).finalResponse()),
  "gemini whole": async () => fromGemini([await gemini.models.generateContent(geminiRequest)]),
  "gemini stream": async () => fromGemini(await all(await gemini.models.generateContentStream(geminiRequest))),
};

for (const [name, call] of Object.entries(calls)) {
  console.log(JSON.stringify({ name, answer: await call() }));
}
for (const [name, call] of Object.entries(calls)) {
  try {
    await call();
    console.log(JSON.stringify({ name, error: null }));
  } catch (error) {
    console.log(JSON.stringify({ name, error: error.status ?? String(error), busy: error.message.includes("busy") }));
  }
}
