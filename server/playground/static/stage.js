// The picture, with the heat map and the regions on it.

import { paintHeat } from "./heat.js";

/** Puts `element` on the stage at `box` ([x0, y0, x1, y1], pixels of a picture of `size`). */
export function place(element, [x0, y0, x1, y1], [width, height]) {
  element.style.left = `${(100 * x0) / width}%`;
  element.style.top = `${(100 * y0) / height}%`;
  element.style.width = `${(100 * (x1 - x0)) / width}%`;
  element.style.height = `${(100 * (y1 - y0)) / height}%`;
}

export class Stage {
  #root = document.getElementById("stage");
  #heat = document.getElementById("heat");
  #fade = document.getElementById("fade");
  #regions = document.getElementById("regions");

  constructor() {
    this.#fade.addEventListener("input", () => this.#applyFade());
    this.clear();
  }

  show(picture) {
    this.clear();
    this.#root.querySelector("img")?.remove();
    this.#root.prepend(picture.image);
    this.#root.style.setProperty("--ratio", picture.size[0] / picture.size[1]);
  }

  clear() {
    this.drawRegions([]);
    this.drawHeat(null);
  }

  /** `map`: [rows][cols] probabilities, or null for none. */
  drawHeat(map) {
    this.#fade.disabled = !map;
    this.#heat.hidden = !map;
    if (map) paintHeat(this.#heat, map);
    this.#applyFade();
  }

  /** `regions` as the API reports them, best first. */
  drawRegions(regions, size) {
    this.#regions.replaceChildren(
      ...regions.map(({ box, score }) => {
        const frame = document.createElement("div");
        frame.className = "box region";
        place(frame, box, size);
        const label = document.createElement("span");
        label.textContent = score.toFixed(2);
        frame.append(label);
        return frame;
      }),
    );
  }

  #applyFade() {
    const share = this.#fade.value / 100;
    this.#heat.style.opacity = share;
    this.#fade.style.setProperty("--share", share);
  }
}
