// The playground: a picture and a question, asked without and with zoom, side by side.

import { Failure, servedModel } from "./api.js";
import { readLink, writeLink } from "./link.js";
import { OwnBox } from "./own_box.js";
import { markThumb, openPage, shippedPages, showThumbs } from "./pages.js";
import { closePicture, openPicture } from "./picture.js";
import { Run } from "./run.js";
import { listenForCopying } from "./share.js";
import { listenForPictures } from "./sources.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);

const HOW_TO_DRAW = "Drag on the picture to draw a box of your own, and ask with it.";
const DRAW_NOW = "Now draw on the picture with your finger.";
const WITH_BOX = "Your box is cropped instead of the model's region.";

const stage = new Stage();
const own = new OwnBox(boxChanged, ask);
const run = new Run(stage, { busy: showBusy, tell });
let pages = [];
let picture = null;
let opening = 0;
let shown = Promise.resolve(); // kept once the picture chosen last is on the stage

/** Shows the picture that `open()` loads, unless another one is chosen meanwhile. */
function show(open) {
  shown = load(open, ++opening);
  return shown;
}

async function load(open, turn) {
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
    if (turn === opening) fail(error);
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
  await shown; // a question right after the choice of a picture is about that picture
  const request = example();
  if (!request.picture) return tell("Choose a picture first.");
  if (!request.question) {
    tell("Type a question first.");
    return $("question").focus();
  }
  history.replaceState(null, "", writeLink(request) ?? location.pathname + location.search);
  try {
    const name = await model();
    if (request.picture !== picture) return; // another one came while the key was asked for
    await run.start({ ...request, model: name, truth: truthOf(request) });
  } catch (error) {
    fail(error);
  }
}

/** The right answer to the shipped page's own question; undefined for any other. */
function truthOf({ picture, question }) {
  const page = pages.find(({ id }) => id === picture.page);
  return page?.question === question ? page.answer : undefined;
}

let served = null;

/** The served model's name, asked for once; after a failure, again. */
function model() {
  served ??= servedModel().then(
    (name) => ($("model").textContent = name),
    (error) => {
      served = null;
      throw error;
    },
  );
  return served;
}

/** Opens the example that the address names, and asks; without one, something to begin with. */
async function openAddress() {
  const linked = readLink(location.hash);
  const page = pages.find(({ id }) => id === linked?.page);
  if (page) {
    await choosePage(page);
    $("question").value = linked.question ?? page.question;
    own.box = linked.box;
    return ask();
  }
  if (!picture) await choosePage(pages[0]);
  if (linked) tell(`This link names a page that is not here: ${linked.page}.`);
  await model(); // now, so that a key is asked for before anything is typed
}

/** What is on the screen and would be asked. */
function example() {
  return { picture, question: $("question").value.trim(), box: own.box };
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

/** Tells an error; what is no Failure is a fault of this page, and goes to the console too. */
function fail(error) {
  if (error instanceof Failure) return tell(error.message);
  console.error(error);
  tell(`Something in this page went wrong: ${error.message}`);
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
  let pointer = ""; // what presses the button: not every browser's click event says so
  $("draw").addEventListener("pointerdown", (event) => (pointer = event.pointerType));
  $("draw").addEventListener("keydown", () => (pointer = ""));
  $("draw").addEventListener("click", () => {
    if (!picture) return tell("Choose a picture first.");
    if (pointer !== "touch") return own.startWithKeys();
    own.touchDraws = !own.touchDraws;
    boxChanged(null);
  });
  $("undraw").addEventListener("click", () => {
    own.box = null;
    $("draw").focus();
  });
  listenForCopying(example, model, fail);
  window.addEventListener("hashchange", () => openAddress().catch(fail));
  listenForPictures(showOwnPicture);
}

async function start() {
  listen();
  try {
    pages = await shippedPages();
    showThumbs($("pages"), pages, choosePage);
    await openAddress();
  } catch (error) {
    fail(error);
  }
}

start();
