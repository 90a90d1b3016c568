const get = (id) => document.getElementById(id);
const columns = JSON.parse(get("columns").textContent);
const button = document.querySelector(".stop");
const INTERVAL = 500; // milliseconds between requests
let losses = [];
let version = 0;
let over = false;

function draw(end) {
  const curves = Object.entries(columns).map(([name, column]) => [name, losses.map((row) => row[column])]);
  drawChart(document.querySelector(".chart"), losses.map((row) => row[0]), Object.fromEntries(curves), end);
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
  draw(`${state.iteration} of ${state.iterations}`);
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
