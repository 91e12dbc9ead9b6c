// The playground: a picture and a question, asked without and with zoom, side by side.

import { Failure, servedModel } from "./api.js";
import { copy } from "./clipboard.js";
import { hasKey } from "./key.js";
import { readLink, writeLink } from "./link.js";
import { OwnBox } from "./own_box.js";
import { markThumb, openPage, pageUrl, shippedPages, showThumbs } from "./pages.js";
import { closePicture, openPicture } from "./picture.js";
import { Run } from "./run.js";
import { asCurl, asPython } from "./snippets.js";
import { listenForPictures } from "./sources.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);

const HOW_TO_DRAW = "Drag on the picture to draw a box of your own, and ask with it.";
const DRAW_NOW = "Now draw on the picture with your finger.";
const WITH_BOX = "Your box will be looked at instead of the model's choice.";

const stage = new Stage();
const own = new OwnBox(boxChanged, ask);
const run = new Run(stage, { busy: showBusy, tell });
let pages = [];
let picture = null;
let opening = 0;

/** Shows the picture that `open()` loads, unless another one is asked for meanwhile. */
async function show(open) {
  const turn = ++opening;
  try {
    const opened = await open();
    if (turn !== opening) return closePicture(opened);
    run.clear();
    tell("");
    const before = picture;
    picture = opened;
    stage.show(picture);
    own.reset(picture.size);
    if (before) closePicture(before);
    markThumb($("pages"), picture.page);
  } catch (error) {
    if (turn === opening) tell(words(error));
  }
}

async function choosePage(page) {
  $("question").value = page.question;
  await show(() => openPage(page));
}

function showOwnPicture(file) {
  return show(() => openPicture(file, file.name || "picture.png"));
}

async function ask() {
  const question = $("question").value.trim();
  if (!picture) return tell("Choose a picture first.");
  if (!question) {
    tell("Type a question first.");
    return $("question").focus();
  }
  history.replaceState(null, "", link() ?? location.pathname + location.search);
  try {
    $("model").textContent = await model();
    const truth = truthOf(picture, question);
    await run.start({ model: await model(), picture, question, box: own.box, truth });
  } catch (error) {
    tell(words(error));
  }
}

/** The right answer to a shipped page's own question; undefined for any other. */
function truthOf({ page }, question) {
  return pages.find(({ id, question: own }) => id === page && own === question)?.answer;
}

let named = null;

/** The served model's name, asked for once; after a failure, again. */
function model() {
  named ??= servedModel().catch((error) => {
    named = null;
    throw error;
  });
  return named;
}

/** Opens the example that the address names, and asks; false if it names none. */
async function openLink() {
  const linked = readLink(location.hash);
  if (!linked) return false;
  const page = pages.find(({ id }) => id === linked.page);
  if (!page) {
    tell(`This link names a page that is not here: ${linked.page}.`);
    return false;
  }
  await choosePage(page);
  $("question").value = linked.question ?? page.question;
  own.box = linked.box;
  await ask();
  return true;
}

/** The fragment for what is on the screen; null for a picture of the user's own. */
function link() {
  if (!picture?.page) return null;
  return writeLink({ page: picture.page, question: $("question").value.trim(), box: own.box });
}

async function copyLink() {
  const fragment = link();
  if (fragment) return copyText(new URL(fragment, location.href).href, "Link");
  tell("A link can name shipped pages only: your own picture is not stored anywhere.");
}

async function copyCode(write, name) {
  if (!picture) return tell("Choose a picture first.");
  try {
    const code = write({
      model: await model(),
      picture,
      pageUrl: picture.page && pageUrl(picture.page),
      question: $("question").value.trim(),
      roi: own.box ? { boxes: [own.box] } : true,
      keyed: hasKey(),
    });
    await copyText(code, name);
  } catch (error) {
    tell(words(error));
  }
}

async function copyText(text, name) {
  const copied = await copy(text);
  $("copied").textContent = copied ? `${name} copied` : "";
  if (!copied) tell("The browser does not let this page copy.");
}

function boxChanged(box) {
  $("undraw").hidden = !box;
  $("draw").hidden = Boolean(box);
  $("ask").textContent = box ? "Ask with box" : "Ask";
  const hint = box ? WITH_BOX : own?.touchDraws ? DRAW_NOW : HOW_TO_DRAW;
  $("hint").textContent = hint;
  $("hint").classList.toggle("usual", hint === HOW_TO_DRAW); // no room for it on a phone
}

function showBusy(busy) {
  $("stop").disabled = !busy;
}

function tell(message) {
  $("notice").textContent = message;
}

/** An error in words; what is no Failure is a fault of this page, and goes to the console too. */
function words(error) {
  if (error instanceof Failure) return error.message;
  console.error(error);
  return `Something in this page went wrong: ${error.message}`;
}

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask();
  });
  $("stop").addEventListener("click", () => {
    run.stop();
    $("ask").focus();
  });
  $("draw").addEventListener("click", (event) => {
    if (!picture) return tell("Choose a picture first.");
    if (event.pointerType !== "touch") return own.startWithKeys();
    own.touchDraws = !own.touchDraws;
    boxChanged(null);
  });
  $("undraw").addEventListener("click", () => {
    own.box = null;
    $("draw").focus();
  });
  $("curl").addEventListener("click", () => copyCode(asCurl, "curl"));
  $("python").addEventListener("click", () => copyCode(asPython, "Python"));
  $("link").addEventListener("click", copyLink);
  window.addEventListener("hashchange", openLink);
  listenForPictures(showOwnPicture);
}

async function start() {
  listen();
  try {
    pages = await shippedPages();
    showThumbs($("pages"), pages, choosePage);
    if (await openLink()) return;
    if (!picture) await choosePage(pages[0]);
    $("model").textContent = await model();
  } catch (error) {
    tell(words(error));
  }
}

start();
