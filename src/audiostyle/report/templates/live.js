"use strict";
const get = (id) => document.getElementById(id);
const columns = JSON.parse(get("columns").textContent);
const lines = [...document.querySelectorAll(".plot .curve")];
const values = [...document.querySelectorAll(".legend .value")];
const button = document.querySelector(".stop");
const INTERVAL = 500; // milliseconds between requests
let losses = [];
let version = 0;
let over = false;

const label = (x, y, offset, text, css = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
  for (const [key, value] of Object.entries({ x, y, ...offset, class: css })) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};

function draw(iterations) {
  const all = losses.flatMap((row) => columns.map((column) => row[column])).filter((value) => value > 0);
  if (!all.length) return;
  let low = Math.log10(Math.min(...all)), high = Math.log10(Math.max(...all));
  if (high - low < 0.3) { low -= 0.15; high += 0.15; }
  const y = (value) => (value > 0 ? (100 * (high - Math.log10(value))) / (high - low) : 100);
  const last = Math.max(1, losses[losses.length - 1][0]);
  columns.forEach((column, k) => {
    lines[k].setAttribute("points", losses.map((row) => `${(100 * row[0]) / last},${y(row[column])}`).join(" "));
    values[k].textContent = Number(losses[losses.length - 1][column]).toPrecision(3);
  });
  document.querySelector(".chart .y-axis").replaceChildren(...[0, 50, 100].map((at) =>
    label("100%", `${at}%`, { dx: -6, dy: at === 0 ? "0.8em" : at === 100 ? "0" : "0.35em" },
      (10 ** (high - ((high - low) * at) / 100)).toPrecision(2))));
  document.querySelector(".chart .x-axis").replaceChildren(
    label(0, 14, {}, "iteration 0", "first"), label("100%", 14, {}, `${last} of ${iterations}`, "last"));
}

function show(state) {
  losses = losses.slice(0, state.first).concat(state.losses);
  if (state.first === 0 && state.losses.length) losses = state.losses;
  const window = state.windows > 1 ? `window ${state.window} of ${state.windows}, ` : "";
  get("detail").textContent = state.stopping && !state.ended ? "Stopping; the best result will be written" : state.detail;
  get("progress").value = state.iterations ? (state.window - 1 + state.iteration / state.iterations) / state.windows : 0;
  get("count").textContent = state.iterations ? `${window}iteration ${state.iteration} of ${state.iterations}` : "";
  button.disabled = state.stage !== "optimization" || state.stopping || state.ended;
  if (state.version !== version) {
    for (const name of ["start", "now"]) {
      if (name === "start" && version && state.iteration > 0 && state.window === shownWindow) continue;
      get(name).src = `${name}?${state.version}`;
    }
    version = state.version;
    shownWindow = state.window;
  }
  draw(state.iterations);
  if (state.ended) { over = true; get("progress").value = 1; }
}
let shownWindow = 0;
let misses = 0;

async function ask() {
  try {
    const answer = await fetch(`state?${losses.length}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
    misses = 0;
  } catch {
    misses += 1;
    if (misses > 3) {
      over = true;
      button.disabled = true;
      get("detail").textContent = "The run has ended.";
    }
  }
  if (!over) setTimeout(ask, INTERVAL);
}

button.addEventListener("click", async () => {
  button.disabled = true;
  await fetch("stop", { method: "POST" }).catch(() => {});
});
ask();
