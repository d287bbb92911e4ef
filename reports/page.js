"use strict";

// One player for the page. Between versions of one utterance it keeps its place, to the sample, so that they compare.
const clips = JSON.parse(document.getElementById("clips").textContent);
const bar = document.getElementById("bar");
const seek = bar.querySelector("input");
const said = bar.querySelector("span");
const [pauseButton, originalButton, codecButton] = bar.querySelectorAll("button");

const player = {
  context: null,
  sounds: new Map(),
  source: null,
  clip: null,
  offset: 0,
  since: 0,
  error: "",

  // Seconds into the clip.
  get place() { return this.source ? this.offset + this.context.currentTime - this.since : this.offset; },
  get duration() { return this.sounds.get(this.clip)?.duration ?? 0; },
  get playing() { return this.source !== null; },

  async sound(clip) {
    if (!this.sounds.has(clip)) {
      const letters = atob(clips[clip].slice(clips[clip].indexOf(",") + 1));
      const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
      this.sounds.set(clip, await this.context.decodeAudioData(bytes.buffer));
    }
    return this.sounds.get(clip);
  },

  async play(clip, place) {
    this.context ??= new AudioContext();
    await this.context.resume();
    let sound;
    try {
      sound = await this.sound(clip);
    } catch (error) {
      this.error = error.message;
      said.textContent = `cannot play: ${error.message}`;
      return;
    }
    this.stop();
    this.clip = clip;
    this.offset = place < sound.duration - 0.02 ? place : 0;
    this.since = this.context.currentTime;
    const gain = this.context.createGain();
    gain.gain.setValueAtTime(0, this.since);
    gain.gain.linearRampToValueAtTime(1, this.since + 0.005); // no click where it sets in
    gain.connect(this.context.destination);
    this.source = this.context.createBufferSource();
    this.source.buffer = sound;
    this.source.connect(gain);
    this.source.onended = (event) => { if (event.target === this.source) this.stop(0); };
    this.source.start(0, this.offset);
    requestAnimationFrame(show);
  },

  stop(place = this.place) {
    if (this.source) {
      this.source.onended = null;
      this.source.stop();
    }
    this.source = null;
    this.offset = place;
    show();
  },
};

// --- players in the table ---
let current = null; // the button whose clip is in the player
let codec = null; // the last one of a codec, for the bar's switch

function show() {
  const done = player.duration ? (100 * player.place) / player.duration : 0;
  if (current) {
    current.style.setProperty("--done", `${done}%`);
    current.setAttribute("aria-pressed", String(player.playing));
  }
  seek.value = done;
  pauseButton.textContent = player.playing ? "Pause" : "Play";
  if (player.playing) requestAnimationFrame(show);
}

function original(button) {
  return button && [...document.querySelectorAll(".play[data-original]")]
    .find((other) => other.dataset.utterance === button.dataset.utterance);
}

async function play(button) {
  const same = current?.dataset.utterance === button.dataset.utterance;
  const place = same ? player.place : 0;
  if (current && current !== button) {
    current.setAttribute("aria-pressed", "false");
    current.style.removeProperty("--done");
  }
  current = button;
  if (!("original" in button.dataset)) codec = button;
  else if (codec?.dataset.utterance !== button.dataset.utterance) codec = null;
  said.textContent = button.title;
  bar.hidden = false;
  originalButton.hidden = !original(button);
  codecButton.hidden = !codec;
  codecButton.textContent = codec?.dataset.codec ?? "";
  originalButton.setAttribute("aria-pressed", String(button === original(button)));
  codecButton.setAttribute("aria-pressed", String(button === codec));
  await player.play(button.dataset.clip, place);
}

for (const button of document.querySelectorAll(".play")) {
  button.addEventListener("click", () => (current === button && player.playing ? player.stop() : play(button)));
}
pauseButton.addEventListener("click", () => (player.playing ? player.stop() : current && play(current)));
originalButton.addEventListener("click", () => play(original(current)));
codecButton.addEventListener("click", () => play(codec));
seek.addEventListener("input", () => {
  const place = (seek.value / 100) * player.duration;
  if (player.playing) player.play(player.clip, place);
  else player.offset = place;
});
document.addEventListener("tab", () => {
  if (player.playing) player.stop();
  bar.hidden = true;
});

// --- blind A/B/X: X is A or B, and the listener says which ---
const blind = document.getElementById("abx");
if (blind) {
  const find = (name) => blind.querySelector(`[data-abx=${name}]`);
  const versions = JSON.parse(document.getElementById("versions").textContent); // {utterance: {version: clip}}
  const names = [...new Set(Object.values(versions).flatMap(Object.keys))];
  let test = null;

  const random = (count) => crypto.getRandomValues(new Uint32Array(1))[0] % count;
  const shuffled = (list) => {
    const rest = [...list];
    return list.map(() => rest.splice(random(rest.length), 1)[0]);
  };

  for (const [select, first] of [["a", 0], ["b", 1]]) {
    find(select).append(...names.map((name) => element("option", {}, name)));
    find(select).selectedIndex = first;
  }

  function ask() {
    const trial = test.trials.length;
    if (!test.waiting.length) test.waiting = shuffled(test.utterances);
    test.utterance = test.waiting.pop();
    test.x = random(2) ? "a" : "b";
    test.heard = new Set();
    find("trial").textContent = `Trial ${trial + 1} of ${test.count}`;
    find("isa").disabled = find("isb").disabled = true;
    player.stop(0);
  }

  find("start").addEventListener("click", () => {
    const [a, b] = [find("a").value, find("b").value];
    const utterances = Object.keys(versions).filter((name) => versions[name][a] && versions[name][b]);
    const trouble = a === b ? "Choose two different versions." : utterances.length ? "" : "No utterance has both.";
    find("trouble").textContent = trouble;
    if (trouble) return;
    test = { a, b, utterances, waiting: [], trials: [], count: Math.max(1, Number(find("count").value) || 10) };
    find("sheet").hidden = true;
    find("panel").hidden = false;
    ask();
  });

  async function hear(which) {
    const version = test[which === "x" ? test.x : which];
    const place = player.playing ? player.place : 0;
    await player.play(versions[test.utterance][version], place);
    test.heard.add(which);
    find("isa").disabled = find("isb").disabled = !(test.heard.has("x") && test.heard.size > 1);
  }

  function answer(which) {
    const x = test.x;
    test.trials.push({ utterance: test.utterance, x: test[x], answer: test[which], right: x === which });
    if (test.trials.length < test.count) return ask();
    player.stop(0);
    find("panel").hidden = true;
    score();
  }

  // At least `right` of `count` by guessing: the one-sided binomial test.
  function chance(right, count) {
    let term = 0.5 ** count;
    let sum = 0;
    for (let i = 0; i <= count; i += 1) {
      if (i >= right) sum += term;
      term *= (count - i) / (i + 1);
    }
    return Math.min(1, sum);
  }

  function score() {
    const right = test.trials.filter((trial) => trial.right).length;
    const p = chance(right, test.count);
    find("verdict").textContent = `${right} of ${test.count} right between A (${test.a}) and B (${test.b}). ` +
      `Guessing gives as many or more with probability ${p.toPrecision(2)}` +
      `${p < 0.05 ? ": you hear a difference." : ": this does not show that you hear a difference."}`;
    find("trials").replaceChildren(...test.trials.map((trial, i) => element("tr", {},
      element("td", {}, String(i + 1)), element("td", { class: "words" }, trial.utterance),
      element("td", { class: "words" }, trial.x), element("td", { class: "words" }, trial.answer),
      element("td", { class: `words ${trial.right ? "right" : "wrong"}` }, trial.right ? "right" : "wrong"))));
    find("sheet").hidden = false;
  }

  const cell = (text) => `"${String(text).replace(/^[=+\-@]/, "'$&").replaceAll('"', '""')}"`;
  find("save").addEventListener("click", () => {
    const lines = test.trials.map((trial, i) =>
      [i + 1, test.a, test.b, trial.utterance, trial.x, trial.answer, trial.right].map(cell).join(","));
    download("abx.csv", "text/csv", ["trial,a,b,utterance,x,answer,right", ...lines, ""].join("\n"));
  });

  for (const which of ["a", "b", "x"]) find(`hear${which}`).addEventListener("click", () => hear(which));
  find("isa").addEventListener("click", () => answer("a"));
  find("isb").addEventListener("click", () => answer("b"));
  document.addEventListener("keydown", (event) => {
    if (find("panel").hidden || blind.hidden || /INPUT|SELECT/.test(event.target.tagName)) return;
    const key = event.key.toLowerCase();
    if (["a", "b", "x"].includes(key)) hear(key);
    else if (key === "1" && !find("isa").disabled) answer("a");
    else if (key === "2" && !find("isb").disabled) answer("b");
  });
}

// --- the rows: unpacked when they are first looked at, a page of them at a time ---
const rows = { page: 0, lines: [], shown: [], sorted: null };
const SHOWN = 100;

async function openRows() {
  const content = await unpack("rowdata");
  const place = document.getElementById("rowtable");
  if (!content) {
    place.textContent = "This browser is too old to open the rows; they are in rows.parquet of the run.";
    return;
  }
  // One line for each codec and utterance: its names, then a value for each metric, null where there is none.
  const { names, columns, words, lines, metrics } = content;
  rows.words = columns.length;
  rows.heads = [...columns, ...metrics];
  rows.lines = lines[0].map((_, i) => [
    ...columns.map((column, c) => words[column][lines[c][i]] ?? ""),
    ...metrics.map((_, m) => lines[columns.length + m][i]),
  ]);
  for (const column of ["codec", "dataset", "language"]) {
    const select = document.querySelector(`[data-rows=${column}]`);
    select.append(...words[column].map((word) => element("option", { value: word }, word || "–")));
    select.parentNode.hidden = words[column].length < 2;
  }
  const head = element("tr", {}, ...rows.heads.map((name, i) => {
    const cell = element("th", { scope: "col", class: i < columns.length ? "words" : "" },
      element("button", { type: "button" }, names[name] ?? name));
    cell.firstChild.addEventListener("click", () => {
      rows.sorted = [i, compareBy(i < columns.length, turn(cell))];
      list();
    });
    return cell;
  }));
  place.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody")));
  list();
}

function list() {
  const value = (name) => document.querySelector(`[data-rows=${name}]`).value;
  const wanted = { codec: value("codec"), dataset: value("dataset"), language: value("language") };
  const text = value("text").toLowerCase();
  const lacking = document.querySelector("[data-rows=failed]").checked;
  rows.shown = rows.lines.filter((line) =>
    (!wanted.codec || line[0] === wanted.codec) && (!wanted.dataset || line[1] === wanted.dataset) &&
    (!wanted.language || line[3] === wanted.language) && (!lacking || line.slice(rows.words).includes(null)) &&
    (!text || line.slice(0, rows.words).some((word) => word.toLowerCase().includes(text))));
  if (rows.sorted) {
    const [column, order] = rows.sorted;
    rows.shown.sort((a, b) => order(a[column], b[column]));
  }
  rows.page = 0;
  turnPage(0);
}

function turnPage(step) {
  const last = Math.max(0, Math.ceil(rows.shown.length / SHOWN) - 1);
  rows.page = Math.min(last, Math.max(0, rows.page + step));
  const first = rows.page * SHOWN;
  const body = document.querySelector("#rowtable tbody");
  body.replaceChildren(...rows.shown.slice(first, first + SHOWN).map((line) => element("tr", {},
    ...line.map((cell, i) => element("td", i < rows.words ? { class: "words" } : {}, cell === null ? "failed" : String(cell))))));
  const count = rows.shown.length;
  document.getElementById("rowcount").textContent =
    count ? `${first + 1} to ${Math.min(count, first + SHOWN)} of ${count}` : "none";
}

document.addEventListener("tab", (event) => {
  if (event.detail === "rows" && !rows.opened) {
    rows.opened = true;
    openRows();
  }
});
for (const input of document.querySelectorAll("[data-rows]")) {
  input.addEventListener("input", () => rows.lines.length && list());
}
document.getElementById("before")?.addEventListener("click", () => turnPage(-1));
document.getElementById("after")?.addEventListener("click", () => turnPage(1));
if (location.hash === "#rows") document.dispatchEvent(new CustomEvent("tab", { detail: "rows" }));
