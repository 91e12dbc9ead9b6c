// One of the two answers: its pixels, its text, its remark and its bar of times.

const LONG_ANSWER = 60; // characters; shorter ones are shown large

export class Card {
  #root;
  #answer;
  #remark;
  #pane;
  #canvas;
  #caption;
  #intro;
  #text = "";
  #hasPixels = false;

  constructor(id) {
    this.#root = document.getElementById(id);
    this.#answer = this.#root.querySelector(".said");
    this.#remark = this.#root.querySelector(".remark");
    this.#pane = this.#root.querySelector(".pane");
    this.#canvas = this.#pane.querySelector("canvas");
    this.#caption = this.#pane.querySelector("figcaption");
    this.#intro = this.#remark.textContent;
    this.bar = this.#root.querySelector(".bar");
  }

  /** Back to the beginning. */
  clear() {
    this.#set("idle", "", this.#intro);
    this.#pane.hidden = true;
    this.bar.replaceChildren();
  }

  /** A request is on its way; an empty pane keeps the place of the pixels. */
  wait() {
    this.clear();
    this.#set("waiting", "", "");
    this.#hasPixels = false;
    this.#canvas.width = 0;
    this.#caption.textContent = "…";
    this.#pane.hidden = false;
  }

  /** More of the answer has come. */
  write(text) {
    this.#set("streaming", this.#text + text, this.#remark.textContent);
  }

  /** Shows a region's pixels: `draw(canvas)` draws it, `shape` is its width by its height. */
  see(caption, shape, draw) {
    this.#hasPixels = true;
    draw(this.#canvas);
    this.#canvas.style.setProperty("--shape", shape);
    this.#canvas.ariaLabel = this.#caption.textContent = caption;
  }

  remark(words) {
    this.#remark.textContent = words;
  }

  /** The answer is complete. `truth`: the right answer, or undefined. */
  finish(truth) {
    const said = this.#text.trim();
    const verdict = said === truth ? "Right." : `Wrong: it is ${truth}.`;
    const remark = [truth && verdict, this.#remark.textContent].filter(Boolean).join(" ");
    this.#set(!truth ? "done" : said === truth ? "right" : "wrong", said || "(nothing)", remark);
  }

  stop() {
    this.#set("stopped", this.#text, "Stopped.");
  }

  fail() {
    this.#set("failed", this.#text, this.#text ? "The answer broke off." : "No answer.");
  }

  /** Both answers have ended. */
  settle() {
    this.#pane.hidden = !this.#hasPixels;
  }

  #set(state, text, remark) {
    this.#root.dataset.state = state;
    this.#root.ariaBusy = state === "waiting" || state === "streaming";
    this.#text = text;
    this.#answer.textContent = text;
    this.#answer.classList.toggle("long", text.length > LONG_ANSWER);
    this.#remark.textContent = remark;
  }
}
