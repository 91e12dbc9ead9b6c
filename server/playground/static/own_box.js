// A box of the user's own, drawn with mouse, pen, finger or keyboard.

import { place } from "./stage.js";

const LEAST = 8; // pixels on a side; anything smaller is a click, not a box
const STEP = 1 / 64; // of the picture's longer side, for each press of an arrow key

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class OwnBox {
  #stage = document.getElementById("stage");
  #element = document.getElementById("own");
  #size = [1, 1];
  #box = null;
  #start = null;
  #onChange;

  /** `onChange(box)` is called with [x0, y0, x1, y1], or null; `onEnter()` for the Enter key. */
  constructor(onChange, onEnter) {
    this.#onChange = onChange;
    this.#stage.addEventListener("pointerdown", (event) => this.#press(event));
    this.#stage.addEventListener("pointermove", (event) => this.#drag(event));
    this.#stage.addEventListener("pointerup", (event) => this.#release(event));
    this.#stage.addEventListener("pointercancel", () => this.#release());
    this.#element.addEventListener("keydown", (event) => this.#key(event, onEnter));
  }

  get box() {
    return this.#box;
  }

  set box(box) {
    this.#box = box && this.#inside(box);
    this.#element.hidden = !box;
    if (box) {
      place(this.#element, this.#box, this.#size);
      this.#element.ariaLabel =
        `Your box, pixels ${this.#box.join(", ")}. Arrow keys move it, with Shift they size it. ` +
        "Enter asks, Delete removes it.";
    }
    this.#onChange(this.#box);
  }

  /** A new picture of `size`: no box on it yet. */
  reset(size) {
    this.#size = size;
    this.box = null;
  }

  /** A box in the middle to begin with, ready for the arrow keys. */
  startWithKeys() {
    const [width, height] = this.#size;
    this.box ??= [0.375 * width, 0.375 * height, 0.625 * width, 0.625 * height];
    this.#element.focus();
  }

  /** While on, a finger draws on the picture; else it scrolls the page. */
  set touchDraws(on) {
    this.#stage.classList.toggle("drawing", on);
  }

  get touchDraws() {
    return this.#stage.classList.contains("drawing");
  }

  #press(event) {
    if (event.button !== 0 || (event.pointerType === "touch" && !this.touchDraws)) return;
    if (!this.#stage.querySelector("img")) return;
    event.preventDefault(); // no text selection
    this.#stage.setPointerCapture(event.pointerId);
    this.#start = this.#pixel(event);
  }

  #drag(event) {
    if (this.#start) this.#span(this.#start, this.#pixel(event));
  }

  #release(event) {
    if (!this.#start) return;
    if (event) this.#span(this.#start, this.#pixel(event));
    this.#start = null;
    if (event && this.#box) this.touchDraws = false;
    this.#onChange(this.#box);
  }

  #span([ax, ay], [bx, by]) {
    if (Math.abs(ax - bx) < LEAST || Math.abs(ay - by) < LEAST) return;
    this.box = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
  }

  #key(event, onEnter) {
    if (event.key === "Enter") onEnter();
    else if (event.key === "Delete" || event.key === "Backspace") this.box = null;
    else if (event.key in ARROWS) this.#nudge(ARROWS[event.key], event.shiftKey);
    else return;
    event.preventDefault();
  }

  #nudge([dx, dy], sizing) {
    const step = Math.max(1, Math.round(STEP * Math.max(...this.#size)));
    const [x0, y0, x1, y1] = this.#box;
    const [width, height] = this.#size;
    if (sizing) {
      this.box = [x0, y0, Math.max(x0 + LEAST, x1 + dx * step), Math.max(y0 + LEAST, y1 + dy * step)];
      return;
    }
    const x = clamp(dx * step, -x0, width - x1);
    const y = clamp(dy * step, -y0, height - y1);
    this.box = [x0 + x, y0 + y, x1 + x, y1 + y];
  }

  #pixel(event) {
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    return [
      ((event.clientX - left) / width) * this.#size[0],
      ((event.clientY - top) / height) * this.#size[1],
    ];
  }

  #inside([x0, y0, x1, y1]) {
    const [width, height] = this.#size;
    return [
      Math.round(clamp(x0, 0, width - 1)),
      Math.round(clamp(y0, 0, height - 1)),
      Math.round(clamp(x1, 1, width)),
      Math.round(clamp(y1, 1, height)),
    ];
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
