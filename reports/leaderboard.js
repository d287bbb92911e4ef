"use strict";

const board = JSON.parse(document.getElementById("board-data").textContent);
const systems = Object.keys(board.systems);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B37800", "#2F8FCB", "#8A4BA0", "#777777"];
const families = [...new Set(systems.map((name) => name.split("@")[0]))].sort();
const colour = (name) => COLOURS[families.indexOf(name.split("@")[0]) % COLOURS.length];
const trained = new Set(board.trained.map(([system, metric]) => `${system}\n${metric}`));

// --- what one can choose ---
const form = document.getElementById("filters");
const choices = {};

function field(name, label, input) {
  choices[name] = input;
  input.name = name;
  form.append(element("label", {}, label, input));
  input.addEventListener("input", draw);
}

function select(name, label, options) {
  const input = element("select");
  for (const [value, shown] of options) input.append(element("option", { value }, shown));
  field(name, label, input);
  input.parentNode.hidden = options.length < 2;
}

const unique = (values) => [...new Set(values)].sort();
const directed = Object.entries(board.metrics).filter(([, about]) => about.direction !== "none");
select("dataset", "dataset", Object.keys(board.datasets).map((name) => [name, name]));
select("language", "language", [["", "all"], ...unique(board.means.map((one) => one.language).filter(Boolean)).map((l) => [l, l])]);
field("low", "kbit/s from", element("input", { type: "number", min: "0", step: "any" }));
field("high", "to", element("input", { type: "number", min: "0", step: "any" }));
const licenses = unique(systems.map((name) => board.systems[name].license ?? "not stated"));
select("license", "license", [["", "any"], ...licenses.map((l) => [l, l])]);
select("causal", "causal", [["", "any"], ["yes", "yes"], ["no", "no"], ["–", "not stated"]]);
field("text", "search", element("input", { type: "search" }));
select("y", "figure", directed.map(([name, about]) => [name, about.label]));
form.addEventListener("submit", (event) => event.preventDefault());

const causal = (system) => ({ true: "yes", false: "no" })[board.systems[system].causal] ?? "–";

// --- what is left of it: a line for each system, with its means by metric ---
function chosen() {
  const [low, high] = [choices.low.value, choices.high.value];
  const text = choices.text.value.toLowerCase();
  const lines = new Map();
  for (const one of board.means) {
    const about = board.systems[one.system];
    const wanted = one.dataset === choices.dataset.value && one.language === choices.language.value &&
      (low === "" || (one.kbps !== null && one.kbps >= Number(low))) &&
      (high === "" || (one.kbps !== null && one.kbps <= Number(high))) &&
      (!choices.license.value || (about.license ?? "not stated") === choices.license.value) &&
      (!choices.causal.value || causal(one.system) === choices.causal.value) &&
      one.system.toLowerCase().includes(text);
    if (!wanted) continue;
    if (!lines.has(one.system)) lines.set(one.system, { system: one.system, kbps: one.kbps, n: 0, failed: 0, means: {} });
    const line = lines.get(one.system);
    line.means[one.metric] = one;
    if (!one.pooled) {
      line.n = Math.max(line.n, one.n + one.n_failed);
      line.failed = Math.max(line.failed, one.n_failed);
    }
  }
  return [...lines.values()];
}

// --- the table ---
const sorted = { column: "kbps", down: false };
const show = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function columns(lines) {
  const measured = Object.keys(board.metrics).filter((m) => lines.some((line) => line.means[m]));
  return [
    { key: "system", label: "Codec", words: true, value: (line) => line.system },
    { key: "kbps", label: "kbit/s", value: (line) => line.kbps },
    ...measured.map((m) => ({
      key: m, metric: board.metrics[m], value: (line) => line.means[m]?.mean ?? null,
      label: `${board.metrics[m].label}${{ up: "\u00a0↑", down: "\u00a0↓", none: "" }[board.metrics[m].direction]}`,
    })),
    { key: "n", label: "n", value: (line) => line.n },
    { key: "failed", label: "failed", value: (line) => line.failed },
    { key: "license", label: "License", words: true, value: (line) => board.systems[line.system].license ?? "–" },
    { key: "causal", label: "causal", words: true, value: (line) => causal(line.system) },
    { key: "parameters", label: "parameters", value: (line) => board.systems[line.system].parameters ?? null },
  ];
}

// The best of each metric that ranks among what is shown; what prints alike shares it.
function best(lines, column) {
  if (!column.metric?.ranks) return null;
  const values = lines.filter((line) => !trained.has(`${line.system}\n${column.key}`)).map(column.value)
    .filter((value) => value !== null);
  if (values.length < 2) return null;
  const top = column.metric.direction === "up" ? Math.max(...values) : Math.min(...values);
  return show(top, column.metric.decimals);
}

function table(lines) {
  const shown = columns(lines);
  const order = shown.find((column) => column.key === sorted.column) ?? shown[1];
  const compare = compareBy(order.words, sorted.down);
  lines.sort((a, b) => compare(order.value(a), order.value(b)));
  const head = element("tr");
  for (const column of shown) {
    const cell = element("th", { scope: "col", class: column.words ? "words" : "" },
      element("button", { type: "button" }, ...whole(column.label)));
    if (column === order) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    cell.firstChild.addEventListener("click", () => {
      sorted.down = sorted.column === column.key ? !sorted.down : column.metric?.direction === "up";
      sorted.column = column.key;
      draw();
    });
    head.append(cell);
  }
  head.append(element("th", { scope: "col", class: "words" }, "more"), element("th", { scope: "col", class: "words" }, "weights"));
  const tops = new Map(shown.map((column) => [column.key, best(lines, column)]));
  const body = element("tbody");
  for (const line of lines) {
    const row = element("tr");
    for (const column of shown) row.append(cell(line, column, tops.get(column.key)));
    row.append(links(line.system), hashes(line.system));
    body.append(row);
  }
  document.getElementById("board").replaceChildren(element("table", {}, element("thead", {}, head), body));
}

function cell(line, column, top) {
  const value = column.value(line);
  if (column.words) return element("td", { class: column.key === "system" ? "words name" : "words" }, value);
  if (!column.metric) {
    const text = column.key === "parameters" ? (value === null ? "–" : `${(value / 1e6).toFixed(1)}M`)
      : column.key === "kbps" ? show(value, 3) : String(value);
    return element("td", {}, text);
  }
  const found = line.means[column.key];
  const marked = trained.has(`${line.system}\n${column.key}`);
  const text = show(value, column.metric.decimals);
  const made = element("td", {}, top !== null && text === top && !marked ? element("span", { class: "best" }, text) : text);
  if (marked) made.append(element("span", { title: "trained on this metric: not ranked" }, " †"));
  if (found && found.low !== null) {
    const bounds = [found.low, found.high].map((bound) => show(bound, column.metric.decimals)).join(", ");
    made.append(element("span", { class: "interval" }, `[${bounds}]`));
  }
  return made;
}

function links(system) {
  const { report, run } = board.systems[system].links;
  const made = element("td", { class: "words links" });
  if (report) made.append(element("a", { href: report }, "report"));
  made.append(element("a", { href: run }, "provenance"));
  return made;
}

function hashes(system) {
  const about = board.systems[system];
  const made = element("td", { class: "words" });
  const found = Object.entries(about.sha256 ?? {});
  for (const [file, digest] of found) {
    made.append(element("span", { class: "hash", title: `sha256 of ${file}: ${digest}` }, digest.slice(0, 12)), " ");
  }
  if (about.rendered) made.append("rendered elsewhere");
  else if (!found.length) made.append("none");
  return made;
}

// --- rate and quality ---
const SVG = "http://www.w3.org/2000/svg";

function draw_(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function ticks(low, high, logarithmic) {
  const found = [];
  if (logarithmic) {
    for (const steps of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 6, 8]]) {
      found.length = 0;
      for (let decade = Math.floor(Math.log10(low)) - 1; decade <= Math.log10(high); decade += 1) {
        for (const step of steps) {
          const tick = Number((step * 10 ** decade).toPrecision(3));
          if (tick >= low && tick <= high) found.push(tick);
        }
      }
      if (found.length >= 3) return found;
    }
    return found;
  }
  const raw = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw);
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(Number(tick.toPrecision(6)));
  return found;
}

function scatter(lines) {
  const metric = choices.y.value;
  const about = board.metrics[metric];
  const points = lines.map((line) => ({ ...line.means[metric], name: line.system, kbps: line.kbps }))
    .filter((point) => point.kbps > 0 && point.mean !== null && point.mean !== undefined);
  const figure = document.getElementById("scatter");
  figure.replaceChildren();
  if (!points.length) return;
  const narrow = figure.clientWidth < 500;
  const [width, height, left, bottom, edge] = narrow ? [390, 330, 46, 40, 14] : [800, 400, 56, 44, 20];
  const rates = points.map((point) => point.kbps);
  const bounds = points.flatMap((point) => [point.low ?? point.mean, point.high ?? point.mean]);
  const [x0, x1] = [Math.min(...rates) / 1.25, Math.max(...rates) * 1.25];
  const room = (Math.max(...bounds) - Math.min(...bounds)) * 0.08 || 0.5;
  const [y0, y1] = [Math.min(...bounds) - room, Math.max(...bounds) + room];
  const x = (rate) => left + ((Math.log(rate) - Math.log(x0)) / (Math.log(x1) - Math.log(x0))) * (width - left - edge);
  const y = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - bottom - edge);
  const arrow = { up: "↑", down: "↓", none: "" }[about.direction];
  const words = `${about.label} over bitrate: ${points.map((p) => `${p.name} ${show(p.mean, about.decimals)} at ${p.kbps} kbit/s`).join("; ")}`;
  const svg = draw_("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  for (const tick of ticks(x0, x1, true)) {
    svg.append(draw_("line", { class: "grid", x1: x(tick), x2: x(tick), y1: edge, y2: height - bottom }),
      draw_("text", { class: "soft", x: x(tick), y: height - bottom + 16, "text-anchor": "middle" }, String(tick)));
  }
  for (const tick of ticks(y0, y1, false)) {
    svg.append(draw_("line", { class: "grid", x1: left, x2: width - edge, y1: y(tick), y2: y(tick) }),
      draw_("text", { class: "soft", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  svg.append(draw_("text", { class: "soft", x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, "bitrate (kbit/s)"),
    draw_("text", { class: "soft", x: 4, y: edge - 4 }, `${about.label} ${arrow}${about.unit ? ` (${about.unit})` : ""}`));
  const taken = points.map((p) => [x(p.kbps) - 5, y(p.mean) - 5, x(p.kbps) + 5, y(p.mean) + 5]);
  for (const point of points) {
    const [px, py] = [x(point.kbps), y(point.mean)];
    if (point.low !== null) {
      svg.append(draw_("line", { class: "bound", x1: px, x2: px, y1: y(point.low), y2: y(point.high), stroke: colour(point.name), "stroke-width": 1.5 }));
    }
    const dot = draw_("circle", { cx: px, cy: py, r: 5, fill: colour(point.name) });
    dot.append(draw_("title", {}, `${point.name}: ${show(point.mean, about.decimals)} at ${point.kbps} kbit/s`));
    svg.append(dot);
  }
  for (const point of points) { // names go where they cover least
    const [px, py] = [x(point.kbps), y(point.mean)];
    const long = point.name.length * 6;
    const places = [8, 14, 22, 32].flatMap((d) => [[d, 4], [d, -d], [d, d + 4], [-long - d, 4], [-long - d, -d], [-long - d, d + 4], [-long / 2, -d], [-long / 2, d + 8]]);
    const cost = ([dx, dy]) => {
      const box = [px + dx, py + dy - 10, px + dx + long, py + dy + 2];
      const outside = Math.max(0, left - box[0]) + Math.max(0, box[2] - width) + Math.max(0, edge - box[1]) + Math.max(0, box[3] - height + bottom);
      const covered = taken.reduce((sum, other) => sum + Math.max(0, Math.min(box[2], other[2]) - Math.max(box[0], other[0])) *
        Math.max(0, Math.min(box[3], other[3]) - Math.max(box[1], other[1])), 0);
      return covered + outside * 20 + (Math.abs(dx) + Math.abs(dy)) / 1000;
    };
    const [dx, dy] = places.reduce((one, other) => (cost(other) < cost(one) ? other : one));
    taken.push([px + dx, py + dy - 10, px + dx + long, py + dy + 2]);
    svg.append(draw_("text", { class: "name", x: px + dx, y: py + dy, style: `fill:${colour(point.name)}` }, point.name));
  }
  figure.append(svg, element("figcaption", {}, `${about.label} over bitrate, means and their intervals.`));
}

function draw() {
  const lines = chosen();
  const data = board.datasets[choices.dataset.value] ?? {};
  const facts = [`${lines.length} of ${systems.length} systems on ${choices.dataset.value}`];
  if (data.n) facts.push(`${data.n} utterances`);
  if (data.license) facts.push(`data: ${data.license}`);
  if (data.audio_sha256) facts.push(`audio sha256 ${data.audio_sha256.slice(0, 12)}`);
  document.getElementById("about").textContent = `${facts.join(" · ")}.`;
  scatter(lines);
  table(lines);
}

document.getElementById("notes").replaceChildren(
  ...[`[low, high]: ${board.intervals}. Bold: the best of the rows shown, whether or not the difference is significant; the reports test that.`,
    ...(trained.size ? ["†: trained on this metric, and not ranked by it."] : []), ...board.notes]
    .map((note) => element("p", {}, ...whole(note))));
draw();
