document.documentElement.classList.add("scripted");
const SVG = "http://www.w3.org/2000/svg";
const parsed = {};
// What is large is parsed when it is first needed.
const store = (id) => (parsed[id] ??= JSON.parse(document.getElementById(id).textContent));
const picture = (index) => {
  const { kind, data } = store("pictures");
  return index >= 0 ? `data:${kind};base64,${data[index]}` : "";
};
const make = (name, attributes, text = "") => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};

// --- the table ---------------------------------------------------------------------------------
const table = document.querySelector(".pairs");
const body = table.tBodies[0];
const heads = [...table.querySelectorAll("th[data-key]")];
const rows = [...body.rows].map((element, i) => {
  const cells = element.cells;
  const about = cells[1].querySelector(".about");
  return {
    element, i,
    name: cells[1].querySelector(".open").textContent,
    content: about.querySelector(".content").textContent,
    style: about.querySelector(".style").textContent,
    content_genre: cells[2].textContent, style_genre: cells[3].textContent,
    status: cells[4].textContent, reason: cells[4].firstElementChild.title,
    score: cells[5].dataset.value, loss: cells[6].dataset.value, seconds: cells[7].dataset.value,
  };
});
let order = rows.slice();
const words = new Intl.Collator(undefined, { numeric: true });

function sort(head) {
  const key = head.dataset.key;
  const numeric = "numeric" in head.dataset;
  const down = head.getAttribute("aria-sort") === "ascending" || (numeric && head.getAttribute("aria-sort") === "none");
  for (const other of heads) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const sign = down ? -1 : 1;
  order = rows.slice().sort((a, b) => {
    if (!numeric) return sign * words.compare(a[key], b[key]) || a.i - b.i;
    if (a[key] === "" || b[key] === "") return (a[key] === "") - (b[key] === "") || a.i - b.i; // unknown ones last
    return sign * (a[key] - b[key]) || a.i - b.i;
  });
  const all = document.createDocumentFragment();
  all.append(...order.map((row) => row.element));
  body.append(all);
}
for (const head of heads) head.firstElementChild.addEventListener("click", () => sort(head));

const form = document.querySelector(".filters");
const fields = [...form.querySelectorAll("[data-filter]")];
const extra = {}; // what the matrix asks for where no field can
function filter() {
  const wanted = { ...extra };
  for (const field of fields) wanted[field.dataset.filter] = field.value;
  let shown = 0;
  for (const row of rows) {
    const fits = Object.entries(wanted).every(([key, value]) => {
      if (value === "") return true;
      if (key === "score") return row.score !== "" && Number(row.score) >= Number(value);
      if (key !== "text") return row[key] === value.slice(1);
      const text = [row.name, row.content, row.style, row.content_genre, row.style_genre, row.reason].join("\n");
      return text.toLowerCase().includes(value.toLowerCase());
    });
    if (row.element.hidden === fits) row.element.hidden = !fits;
    shown += fits;
  }
  form.querySelector(".count").textContent = `${shown} of ${rows.length} pairs`;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => { for (const key in extra) delete extra[key]; setTimeout(filter); });
filter();

const matrix = document.querySelector(".matrix");
if (matrix) {
  matrix.addEventListener("click", (event) => {
    const cell = event.target.closest("button");
    if (!cell) return;
    for (const [key, value] of [[matrix.dataset.rows, cell.dataset.row], [matrix.dataset.columns, cell.dataset.column]]) {
      const field = fields.find((one) => one.dataset.filter === key);
      if (field) field.value = value;
      else extra[key] = value;
    }
    filter();
    table.scrollIntoView({ block: "nearest" });
  });
}

// --- pictures, as they come into sight ---------------------------------------------------------
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watch.unobserve(entry.target);
    const image = entry.target.querySelector("img");
    image.src = picture(Number(image.dataset.picture));
  }
}, { root: table.parentElement, rootMargin: "600px" });
// First the rows, then what is in them.
requestAnimationFrame(() => setTimeout(() => {
  for (const image of body.querySelectorAll("img[data-picture]")) watch.observe(image.closest("tr"));
}));

// --- details on demand -------------------------------------------------------------------------
const dialog = document.querySelector("dialog");
const place = dialog.querySelector(".dialog-body");
let player = null;
let open = -1;

function show(i) {
  const pair = store("details").pairs[i];
  const view = document.getElementById("detail").content.cloneNode(true);
  const { sources, axes } = store("details");
  open = i;
  dialog.querySelector("#d-title").textContent = rows[i].name;
  for (const note of pair.notes) {
    const item = document.createElement("li");
    item.textContent = note;
    view.querySelector(".notes").append(item);
  }
  const root = view.querySelector(".player");
  root.dataset.seconds = pair.axis;
  root.querySelector(".seek").max = pair.axis;
  pair.tracks.forEach(([index, width, source, seconds, name, about, reason], k) => {
    const track = root.querySelectorAll(".track")[k];
    track.querySelector(".name").textContent = name;
    track.querySelector(".about").textContent = about;
    track.querySelector(".wave").remove();
    track.dataset.seconds = seconds;
    const image = track.querySelector("image");
    image.setAttribute("href", picture(index));
    image.setAttribute("width", `${width}%`);
    const why = track.querySelector(".reason");
    why.textContent = reason;
    why.hidden = !reason;
    const [url, offset] = (source >= 0 && sources[source]) || [];
    if (!url) return;
    track.dataset.offset = offset;
    const audio = document.createElement("audio");
    audio.preload = "metadata";
    audio.src = url;
    track.append(audio);
  });
  const axis = root.querySelector(".last .x-axis");
  for (const [at, text] of axes[pair.axis] ?? []) {
    axis.append(make("text", { x: `${at}%`, y: 14, class: at === 0 ? "first" : at > 97 ? "last" : "" }, text));
  }
  chart(view.querySelector(".chart"), pair.losses);
  const measures = view.querySelector(".measures");
  if (pair.measures) {
    measures.querySelectorAll("td").forEach((cell, k) => {
      const value = pair.measures[k];
      cell.textContent = value === null ? "–" : (value * Number(cell.dataset.factor)).toFixed(Number(cell.dataset.decimals));
    });
  } else measures.remove();
  if (player) player.toggle(false);
  place.replaceChildren(view);
  player = new Player(place.querySelector(".player"));
  if (!dialog.open) dialog.showModal();
  place.scrollTop = dialog.scrollTop = 0;
}

function chart(figure, losses) {
  const names = Object.keys(losses).filter((name) => name !== "step");
  const values = names.flatMap((name) => losses[name]).filter((value) => value > 0);
  if (!values.length) { figure.remove(); return; }
  let low = Math.log10(Math.min(...values)), high = Math.log10(Math.max(...values));
  if (high - low < 0.3) { low -= 0.15; high += 0.15; }
  const y = (value) => (value > 0 ? (100 * (high - Math.log10(value))) / (high - low) : 100);
  const last = Math.max(1, losses.step[losses.step.length - 1]);
  const plot = figure.querySelector(".plot");
  names.forEach((name, k) => {
    const points = losses[name].map((value, j) => `${(100 * losses.step[j]) / last},${y(value)}`).join(" ");
    plot.append(make("polyline", { class: `curve c${k % 9}`, points }));
    const item = document.createElement("li");
    const swatch = make("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
    swatch.append(make("line", { class: `curve c${k % 9}`, x1: 0, x2: 24, y1: 4, y2: 4 }));
    item.append(swatch, `${name} ${losses[name][losses[name].length - 1]}`);
    figure.querySelector(".legend").append(item);
  });
  const left = figure.querySelector(".y-axis"), under = figure.querySelector(".x-axis");
  for (const at of [0, 50, 100]) {
    const value = 10 ** (high - ((high - low) * at) / 100);
    left.append(make("text", { x: "100%", y: `${at}%`, dx: -6, dy: at === 0 ? "0.8em" : at === 100 ? "0" : "0.35em" }, value.toPrecision(2)));
  }
  under.append(make("text", { x: 0, y: 14, class: "first" }, "step 0"), make("text", { x: "100%", y: 14, class: "last" }, String(last)));
}

function step(way) {
  const visible = order.filter((row) => !row.element.hidden);
  const at = visible.findIndex((row) => row.i === open);
  const next = visible[at + way];
  if (next) show(next.i);
}

body.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !String(getSelection())) show(Number(row.dataset.i));
});
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
for (const button of dialog.querySelectorAll("[data-step]")) {
  button.addEventListener("mousedown", (event) => event.preventDefault()); // the space bar plays
  button.addEventListener("click", () => step(Number(button.dataset.step)));
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  if (player) player.toggle(false);
  place.replaceChildren();
  player = null;
  rows[open]?.element.querySelector(".open").focus();
});
document.addEventListener("keydown", (event) => { if (dialog.open && player) player.key(event); });
