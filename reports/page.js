"use strict";

// Tables: a click on a head sorts by that column, another turns it round. Cells without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      const factor = down ? -1 : 1;
      const words = head.classList.contains("words");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? "";
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
        return factor * (words ? key(a).localeCompare(key(b)) : Number(key(a)) - Number(key(b)));
      });
      body.append(...rows);
    });
  });
}

// One player for the page. Between versions of one utterance it keeps its place, so that they compare.
const clips = JSON.parse(document.getElementById("clips").textContent);
const bar = document.getElementById("bar");
const seek = bar.querySelector("input");
const audio = new Audio();
let current = null;

function show() {
  if (!current) return;
  const done = audio.duration ? (100 * audio.currentTime) / audio.duration : 0;
  current.style.setProperty("--done", `${done}%`);
  current.setAttribute("aria-pressed", String(!audio.paused));
  seek.value = done;
}

function play(button) {
  const place = current?.dataset.utterance === button.dataset.utterance && !audio.ended ? audio.currentTime : 0;
  if (current && current !== button) {
    current.setAttribute("aria-pressed", "false");
    current.style.removeProperty("--done");
  }
  if (current !== button) {
    current = button;
    audio.src = clips[button.dataset.clip];
    const resume = () => { if (place) audio.currentTime = Math.min(place, audio.duration); };
    audio.addEventListener("loadedmetadata", resume, { once: true });
    bar.querySelector("span").textContent = button.title;
    bar.hidden = false;
  }
  audio.play().catch((error) => { bar.querySelector("span").textContent = `cannot play: ${error.message}`; });
}

for (const button of document.querySelectorAll(".play")) {
  button.addEventListener("click", () => (current === button && !audio.paused ? audio.pause() : play(button)));
}
for (const event of ["timeupdate", "play", "pause", "ended"]) audio.addEventListener(event, show);
seek.addEventListener("input", () => { if (audio.duration) audio.currentTime = (seek.value / 100) * audio.duration; });
