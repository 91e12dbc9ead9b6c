// The RoI map as colours: one pixel a cell, which the browser scales up smoothly over the picture.

const COLD = [255, 208, 70];
const WARM = [245, 130, 40];
const HOT = [205, 40, 50];
const OPACITY = 0.85;

/** Paints `map` ([rows][cols] probabilities) on `canvas`; what is improbable stays clear. */
export function paintHeat(canvas, map) {
  const [rows, cols] = [map.length, map[0].length];
  canvas.width = cols;
  canvas.height = rows;
  const cells = new ImageData(cols, rows);
  map.flat().forEach((p, cell) => {
    cells.data.set([...colour(p), Math.round(255 * OPACITY * Math.sqrt(p))], 4 * cell);
  });
  canvas.getContext("2d").putImageData(cells, 0, 0);
}

function colour(p) {
  const [from, to, share] = p < 0.5 ? [COLD, WARM, 2 * p] : [WARM, HOT, 2 * p - 1];
  return from.map((value, channel) => Math.round(value + share * (to[channel] - value)));
}
