// The server's public API, as any client would call it: /v1/models and /v1/chat/completions.

import { anotherKey, authorization } from "./key.js";
import { serverSentEvents } from "./events.js";

export const API = new URL("v1", document.baseURI).href;

const MAX_ANSWER_TOKENS = 512;

/** Something to tell the user; the message is a sentence of its own. */
export class Failure extends Error {}

/** The name of the first model this server serves. */
export async function servedModel() {
  const response = await call("/models");
  return (await response.json()).data[0].id;
}

/** The body of a chat completion: one question about one picture. `roi` as in docs/api.md. */
export function chat(model, pictureUrl, question, roi) {
  return {
    model,
    messages: [
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url: pictureUrl } },
          { type: "text", text: question },
        ],
      },
    ],
    temperature: 0,
    max_completion_tokens: MAX_ANSWER_TOKENS,
    roi,
  };
}

/** Streams the answer to `body`: yields {roi}, {text} and {usage} as they come. Throws Failure. */
export async function* answer(body, signal) {
  const response = await call("/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const event of connected(serverSentEvents(response.body))) {
    if (event === "[DONE]") return;
    const chunk = JSON.parse(event);
    if (chunk.error) throw new Failure(`The answer broke off: ${chunk.error.message}`);
    if (chunk.roi) yield { roi: chunk.roi };
    const text = chunk.choices?.[0]?.delta?.content;
    if (text) yield { text };
    if (chunk.usage) yield { usage: chunk.usage };
  }
  throw new Failure("The answer broke off before its end.");
}

async function* connected(events) {
  try {
    yield* events;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The answer broke off: the connection to the server was lost.");
  }
}

async function call(route, init = {}) {
  for (;;) {
    const key = authorization();
    const response = await send(API + route, { ...init, headers: { ...init.headers, ...key } });
    if (response.ok) return response;
    if (response.status !== 401) throw new Failure(await refusal(response));
    if (!(await anotherKey(key))) throw new Failure("This server answers only with an API key.");
  }
}

async function send(url, init) {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached. Is it still running?");
  }
}

/** Why the server would not answer, in words. */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const why = body?.error?.message ?? `it answered ${response.status} ${response.statusText}`;
  if (response.status === 413) return `This picture is too large for the server: ${why}.`;
  if (response.status === 429 || response.status === 503) {
    const seconds = response.headers.get("Retry-After");
    return `The server is busy (${why}). Try again ${seconds ? `in ${seconds} s` : "soon"}.`;
  }
  return `The server refused: ${why}`;
}
