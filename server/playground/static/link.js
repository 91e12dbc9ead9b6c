// Links that open an example again: #page=…&q=…&box=x0,y0,x1,y1. They hold shipped pages only.

/** The example in `fragment` (location.hash): {page, question, box}; null if it holds none. */
export function readLink(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  if (!fields.get("page")) return null;
  const box = fields.get("box")?.split(",").map(Number);
  const whole = box?.length === 4 && box.every(Number.isFinite) && box[0] < box[2] && box[1] < box[3];
  return { page: fields.get("page"), question: fields.get("q"), box: whole ? box : null };
}

/** The fragment that opens this example again; null for a picture of the user's own. */
export function writeLink({ picture, question, box }) {
  if (!picture?.page) return null;
  const fields = new URLSearchParams({ page: picture.page, q: question });
  if (box) fields.set("box", box.join(","));
  return `#${fields}`;
}
