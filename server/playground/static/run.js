// One question, sent twice at the same time: without zoom and with it.

import { Failure, answer, chat } from "./api.js";
import { Card } from "./card.js";
import { costOf, showBar, showCosts } from "./costs.js";
import { drawBaseView, drawSharp } from "./crops.js";

export class Run {
  #plain = new Card("plain");
  #zoomed = new Card("zoomed");
  #table = document.getElementById("costs");
  #facts = document.getElementById("facts");
  #costs = {};
  #current = null; // the AbortController of the run on the screen
  #request = null;
  #stage;
  #busy;
  #tell;

  /** `busy(bool)` and `tell(words)` are called as a run begins, ends or fails. */
  constructor(stage, { busy, tell }) {
    this.#stage = stage;
    this.#busy = busy;
    this.#tell = tell;
    this.clear();
  }

  /** Ends what runs and empties the screen of its results. */
  clear() {
    this.#current?.abort();
    this.#current = this.#request = null;
    this.#costs = {};
    this.#plain.clear();
    this.#zoomed.clear();
    this.#stage.clear();
    this.#facts.textContent = "";
    showCosts(this.#table, null, null);
    this.#table.hidden = true;
    this.#busy(false);
  }

  /** Ends what runs; what has come of the answers stays. */
  stop() {
    this.#current?.abort();
  }

  /** Asks; `truth` is the right answer, or undefined. A request that is running already goes on. */
  async start({ model, picture, question, box, truth }) {
    const request = JSON.stringify([picture.image.src, question, box]);
    if (request === this.#request) return;
    this.clear();
    const controller = new AbortController();
    this.#current = controller;
    this.#request = request;
    this.#table.hidden = false;
    this.#busy(true);
    this.#tell("");
    const body = (roi) => chat(model, picture.url, question, roi);
    try {
      await Promise.all([
        this.#answer(this.#plain, "plain", body(false), truth, controller),
        this.#answer(this.#zoomed, "zoomed", body(roiFor(box)), truth, controller, (roi) =>
          this.#show(roi, picture, box),
        ),
      ]);
    } finally {
      if (controller === this.#current) this.#end();
    }
  }

  #end() {
    this.#request = null;
    this.#plain.settle();
    this.#zoomed.settle();
    this.#busy(false);
  }

  /** Streams one answer into its card; a run that another has replaced writes nothing more. */
  async #answer(card, name, body, truth, controller, onReport = () => {}) {
    const started = performance.now();
    let roi = null;
    let usage = null;
    card.wait();
    try {
      for await (const part of answer(body, controller.signal)) {
        if (controller !== this.#current) return;
        if (part.roi) onReport((roi = part.roi));
        if (part.text) card.write(part.text);
        usage = part.usage ?? usage;
      }
      if (controller !== this.#current) return;
      card.finish(truth);
      if (!roi) throw new Failure("This server answers without `roi`: it is not sdrpn.");
      this.#spent(name, costOf(roi, usage, performance.now() - started));
    } catch (error) {
      if (controller !== this.#current) return;
      if (error.name === "AbortError") return card.stop();
      card.fail();
      if (!(error instanceof Failure)) throw error;
      this.#tell(error.message);
    }
  }

  /** Shows the regions, and each pane: the base view's pixels and the crop's. */
  #show(roi, picture, ownBox) {
    const [width, height] = picture.size;
    if (roi.image_size[0] !== width || roi.image_size[1] !== height) {
      this.#tell(
        `The server turned this picture to ${roi.image_size.join(" × ")} pixels and the browser ` +
          `to ${width} × ${height}: boxes and crops below are not those of the model.`,
      );
    }
    this.#stage.drawHeat(roi.heatmap ?? null);
    this.#stage.drawRegions(ownBox ? [] : roi.regions, roi.image_size);
    this.#facts.textContent = facts(roi);
    if (!roi.regions.length) return this.#zoomed.remark(whyNot(roi.skipped));
    const [{ box }] = roi.regions;
    const shape = (box[2] - box[0]) / (box[3] - box[1]);
    this.#plain.see("base view", shape, (canvas) =>
      drawBaseView(canvas, picture.image, box, roi.grid),
    );
    this.#zoomed.see("crop", shape, (canvas) =>
      drawSharp(canvas, picture.image, box),
    );
  }

  #spent(name, cost) {
    this.#costs[name] = cost;
    const { plain, zoomed } = this.#costs;
    const longest = Math.max(plain?.total.ms ?? 0, zoomed?.total.ms ?? 0);
    showBar(this.#plain.bar, plain, longest);
    showBar(this.#zoomed.bar, zoomed, longest);
    showCosts(this.#table, plain, zoomed);
  }
}

/** The `roi` of the zoomed request: with the user's own box there is no pass 1 and no map. */
function roiFor(box) {
  return box ? { boxes: [box] } : { heatmap: true };
}

function facts(roi) {
  const [rows, cols] = roi.grid;
  const size = `${roi.image_size.join(" × ")} px in ${rows * cols} tokens`;
  const [best] = roi.regions;
  if (!best) return size;
  const [x0, y0, x1, y1] = best.box.map(Math.round);
  return `${size}, then ${x0}, ${y0} – ${x1}, ${y1}`;
}

function whyNot(skipped) {
  if (skipped === "no_region") return "No region: answered from the base view.";
  return `No region (${skipped}): answered from the base view.`;
}
