// What each answer cost: a table of steps, and a bar of their times in each card.

export const STEPS = [
  { name: "picture", key: "pictures" },
  { name: "pass 1", key: "pass1" },
  { name: "of it: RPN", key: "rpn", part: true },
  { name: "crop", key: "crop" },
  { name: "answer", key: "answer" },
];

/**
 * The cost of one answer: {steps: {key: {tokens, cached, ms}}, total: {...}}. `roi` is the response's
 * object, `usage` the answer's own, `ms` how long it took from request to last token, measured here.
 */
export function costOf(roi, usage, ms) {
  const steps = {};
  let rest = ms;
  for (const { key, part } of STEPS) {
    if (roi.timings[key] === undefined) continue;
    steps[key] = { ms: roi.timings[key] };
    if (!part) rest -= roi.timings[key];
  }
  if (roi.pass1_usage && steps.pass1) {
    steps.pass1.tokens = roi.pass1_usage.prompt_tokens;
    steps.pass1.cached = roi.pass1_usage.cached_tokens;
  }
  steps.answer = {
    ms: Math.max(0, rest),
    tokens: usage?.prompt_tokens,
    cached: usage?.prompt_tokens_details?.cached_tokens,
  };
  const read = [steps.pass1, steps.answer].filter(Boolean);
  const total = { ms, tokens: sum(read, "tokens"), cached: sum(read, "cached") };
  return { steps, total };
}

function sum(parts, key) {
  return parts.some((part) => part[key] == null)
    ? undefined
    : parts.reduce((all, part) => all + part[key], 0);
}

/** Fills the table; `plain` and `zoomed` are costs, or null where there are none (yet). */
export function showCosts(table, plain, zoomed) {
  const rows = [...STEPS, { name: "total" }].map(({ name, key, part }) => {
    const row = document.createElement("tr");
    row.className = key ?? "total";
    if (part) row.classList.add("part");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    for (const cost of [plain, zoomed]) {
      const step = key ? cost?.steps[key] : cost?.total;
      for (const value of [step?.tokens, step?.cached, step?.ms]) row.append(cell(value));
    }
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}

function cell(value) {
  const cell = document.createElement("td");
  if (value == null) return cell;
  cell.textContent = value < 10 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value);
  return cell;
}

/** Draws `cost` as a bar of coloured steps; `longest` milliseconds fill its whole width. */
export function showBar(bar, cost, longest) {
  const parts = STEPS.filter(({ key, part }) => !part && cost?.steps[key]).map(({ key }) => {
    const part = document.createElement("i");
    part.className = key;
    part.style.width = `${(100 * cost.steps[key].ms) / longest}%`;
    return part;
  });
  bar.replaceChildren(...parts);
}
