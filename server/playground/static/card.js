// One of the two answers, from an empty card to what was seen, said and spent.

const LONG_ANSWER = 60; // characters; shorter ones are shown large

export class Card {
  #root;
  #answer;
  #remark;
  #pane;
  #intro;
  #text = "";

  constructor(id) {
    this.#root = document.getElementById(id);
    this.#answer = this.#root.querySelector(".said");
    this.#remark = this.#root.querySelector(".remark");
    this.#pane = this.#root.querySelector(".pane");
    this.#intro = this.#remark.textContent;
    this.bar = this.#root.querySelector(".bar");
  }

  /** Back to the beginning. */
  clear() {
    this.#set("idle", "", this.#intro);
    this.#pane.hidden = true;
    this.bar.replaceChildren();
  }

  /** A request is on its way. */
  wait() {
    this.clear();
    this.#set("waiting", "", "");
  }

  /** More of the answer has come. */
  write(text) {
    this.#set("streaming", this.#text + text, this.#remark.textContent);
  }

  /** Shows what was seen: `draw(canvas)` draws it, `shape` is its width by its height. */
  see(caption, shape, draw) {
    const canvas = this.#pane.querySelector("canvas");
    draw(canvas);
    canvas.style.setProperty("--shape", shape);
    canvas.ariaLabel = caption;
    this.#pane.querySelector("figcaption").textContent = caption;
    this.#pane.hidden = false;
  }

  remark(words) {
    this.#remark.textContent = words;
  }

  /** The answer is whole. `truth`: what it should be, where that is known. */
  finish(truth) {
    const said = this.#text.trim();
    const verdict = said === truth ? "Right." : `Wrong: it is ${truth}.`;
    const state = !truth ? "done" : said === truth ? "right" : "wrong";
    this.#set(state, said || "(an empty answer)", truth ? verdict : this.#remark.textContent);
  }

  stop() {
    this.#set("stopped", this.#text, "Stopped.");
  }

  fail() {
    this.#set("failed", this.#text, this.#text ? "The answer broke off." : "No answer.");
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
