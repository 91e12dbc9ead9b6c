// The request as code to paste. It runs as it stands: a shipped page is fetched from this server,
// a picture of one's own is read from its file. An API key is never written out.

import { API, chat } from "./api.js";

const PICTURE = "@picture@"; // holds the data: URL's place

/**
 * The request as a shell command. `picture` is an open picture, `pageUrl` where it can be fetched
 * (null for the user's own), `keyed` whether the server wants a key.
 */
export function asCurl({ model, picture, pageUrl, question, roi, keyed }) {
  const file = shellQuoted(picture.name);
  const fetched = pageUrl ? [`curl -sSo ${file} ${shellQuoted(pageUrl)}`] : [];
  const key = keyed ? ['  -H "Authorization: Bearer $SDRPN_API_KEY" \\'] : [];
  const body = JSON.stringify(chat(model, PICTURE, question, roi), null, 2)
    .replace(/[\\$`]/g, "\\$&") // special in the here-document
    .replace(PICTURE, () => `${urlHead(picture)}$(base64 < ${file} | tr -d '\\n')`);
  return [
    ...fetched,
    `curl -sS ${shellQuoted(`${API}/chat/completions`)} \\`,
    ...key,
    "  -H 'Content-Type: application/json' --data-binary @- <<JSON",
    body,
    "JSON",
    "",
  ].join("\n");
}

/** The request as a Python program that uses OpenAI's client. */
export function asPython({ model, picture, pageUrl, question, roi, keyed }) {
  const body = chat(model, PICTURE, question, roi);
  const bytes = pageUrl
    ? `urllib.request.urlopen(${JSON.stringify(pageUrl)}).read()`
    : `open(${JSON.stringify(picture.name)}, "rb").read()`;
  const imports = ["base64", ...(keyed ? ["os"] : []), ...(pageUrl ? ["urllib.request"] : [])];
  const key = keyed ? 'os.environ["SDRPN_API_KEY"]' : '"none"';
  return `${imports.map((name) => `import ${name}\n`).join("")}
import openai

client = openai.OpenAI(base_url=${JSON.stringify(API)}, api_key=${key})
picture = base64.b64encode(${bytes}).decode()
answer = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": f"${urlHead(picture)}{picture}"},
                },
                {"type": "text", "text": ${JSON.stringify(question)}},
            ],
        }
    ],
    temperature=${body.temperature},
    max_completion_tokens=${body.max_completion_tokens},
    extra_body={"roi": ${roi === true ? "True" : JSON.stringify(roi)}},
)
print(answer.choices[0].message.content)
print(answer.roi["regions"])
`;
}

function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `data:image/png;base64,`: all of the picture's data: URL but its bytes. */
function urlHead({ url }) {
  return url.slice(0, url.indexOf(",") + 1);
}
