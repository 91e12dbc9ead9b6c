// The buttons that copy the request as code, and the address that opens it again.

import { Failure } from "./api.js";
import { copy } from "./clipboard.js";
import { hasKey } from "./key.js";
import { writeLink } from "./link.js";
import { pageUrl } from "./pages.js";
import { asCurl, asPython } from "./snippets.js";

/**
 * `example()` is what is on the screen ({picture, question, box}), `model()` a promise of the
 * served model's name; `failed(error)` tells what could not be copied.
 */
export function listenForCopying(example, model, failed) {
  const code = async (write) => {
    const { picture, question, box } = example();
    if (!picture) throw new Failure("Choose a picture first.");
    return write({
      model: await model(),
      picture,
      pageUrl: picture.page && pageUrl(picture.page),
      question,
      roi: box ? { boxes: [box] } : true,
      keyed: hasKey(),
    });
  };
  const copyOnClick = (id, name, text) =>
    document.getElementById(id).addEventListener("click", () => copied(name, text).catch(failed));
  copyOnClick("curl", "curl", () => code(asCurl));
  copyOnClick("python", "Python", () => code(asPython));
  copyOnClick("link", "Link", () => address(example()));
}

function address(example) {
  const fragment = writeLink(example);
  if (fragment) return new URL(fragment, location.href).href;
  throw new Failure("A link can name shipped pages only: your own picture is not stored anywhere.");
}

async function copied(name, text) {
  const status = document.getElementById("copied");
  status.textContent = "";
  if (!(await copy(await text()))) throw new Failure("The browser does not let this page copy.");
  status.textContent = `${name} copied`;
}
