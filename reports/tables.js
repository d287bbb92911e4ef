"use strict";

// A click on a head sorts a table by that column, another turns it round. Cells without a value stay last.
function compareBy(words, down) {
  const factor = down ? -1 : 1;
  return (a, b) => {
    if (a === "" || b === "" || a == null || b == null) return (a === "" || a == null) - (b === "" || b == null);
    return factor * (words ? String(a).localeCompare(String(b), undefined, { numeric: true }) : Number(a) - Number(b));
  };
}

function turn(head) {
  const down = head.getAttribute("aria-sort") !== "descending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  return down;
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const order = compareBy(head.classList.contains("words"), turn(head));
      const key = (row) => row.cells[column].dataset.value ?? "";
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
    });
  });
}

// Tabs: without this script, all parts stand below each other.
const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  document.dispatchEvent(new CustomEvent("tab", { detail: tab.getAttribute("aria-controls") }));
}

tabs.forEach((tab, position) => {
  tab.addEventListener("click", () => {
    choose(tab);
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  });
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(position + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  });
});
if (tabs.length) {
  document.querySelector("[role=tablist]").hidden = false;
  choose(tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? tabs[0]);
}

// Light and dark: as the system says, until somebody chooses.
document.getElementById("theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// What Python packed into the element `id` (html.py); null where this browser cannot open it.
async function unpack(id) {
  const element = document.getElementById(id);
  if (!element || !window.DecompressionStream) return null;
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// `text` in pieces that break no short name at its hyphens.
function whole(text) {
  return text.split(/(\S*-\S*)/).map((part) =>
    part.includes("-") && part.length <= 24 ? element("span", { class: "name" }, part) : part);
}

function download(name, kind, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: kind })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}
