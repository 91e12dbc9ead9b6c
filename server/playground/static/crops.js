// The pixels of a region: those of the original, and nearly those of the base view.

const TOKEN_PIXELS = 28; // a side of one visual token in the Qwen-VL line: 28 or 32
const MOST_PIXELS = 1600; // on a side: more than any screen shows of a crop

/** The region `box` of `image` at full sharpness. */
export function drawSharp(canvas, image, box) {
  const [x0, y0, x1, y1] = box;
  const scale = Math.min(1, MOST_PIXELS / Math.max(x1 - x0, y1 - y0));
  draw(canvas, image, box, (x1 - x0) * scale, (y1 - y0) * scale);
}

/** The region as a base view of `grid` ([rows, cols] visual tokens) has it, nearly. */
export function drawBaseView(canvas, image, box, grid) {
  const [x0, y0, x1, y1] = box;
  const across = (grid[1] * TOKEN_PIXELS) / image.naturalWidth;
  const down = (grid[0] * TOKEN_PIXELS) / image.naturalHeight;
  draw(canvas, image, box, (x1 - x0) * across, (y1 - y0) * down);
}

function draw(canvas, image, [x0, y0, x1, y1], width, height) {
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // what the API puts under transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x0, y0, x1 - x0, y1 - y0, 0, 0, canvas.width, canvas.height);
}
