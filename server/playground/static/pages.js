// The pages that ship with the playground: pages.json and the pictures beside it.

import { Failure } from "./api.js";
import { openPicture } from "./picture.js";

const FOLDER = new URL("pages/", import.meta.url);

/** [{id, title, question, answer}], as demo/playground_pages.py wrote them. */
export async function shippedPages() {
  return (await fetchFile("pages.json")).json();
}

export function pageUrl(id) {
  return new URL(`${id}.png`, FOLDER).href;
}

export async function openPage({ id }) {
  return openPicture(await (await fetchFile(`${id}.png`)).blob(), `${id}.png`, id);
}

/** A row of buttons with the pages on them; `choose(page)` is called for the one pressed. */
export function showThumbs(row, pages, choose) {
  row.replaceChildren(
    ...pages.map((page) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.page = page.id;
      button.title = page.question;
      const image = new Image(64, 64);
      image.src = pageUrl(page.id);
      image.alt = page.title;
      button.append(image);
      button.addEventListener("click", () => choose(page));
      return button;
    }),
  );
}

/** Marks the button of page `id` as the chosen one; null for none. */
export function markThumb(row, id) {
  for (const button of row.children) button.ariaPressed = String(button.dataset.page === id);
}

async function fetchFile(name) {
  const response = await fetch(new URL(name, FOLDER)).catch(() => null);
  if (!response?.ok) throw new Failure("The shipped pages cannot be loaded from the server.");
  return response;
}
