document.documentElement.classList.add("scripted");
const parsed = {};
// Large data is parsed when it is first needed.
const data = (id) => (parsed[id] ??= JSON.parse(document.getElementById(id).textContent));
const imageUrl = (index) => {
  const images = data("images");
  return index >= 0 ? `data:${images.type};base64,${images.data[index]}` : "";
};

// --- the table ----------------------------------------------------------------------------------
const table = document.querySelector(".pairs");
const body = table.tBodies[0];
const FIXED_HEADS = 7; // those of a batch with one setting
const heads = [...table.querySelectorAll("th[data-key]")];
const rows = [...body.rows].map((element, i) => {
  const { cells } = element; // the first is the image
  const about = cells[1].querySelector(".about");
  const values = heads.map((head, k) => [head.dataset.key, cells[k + 1].dataset.value ?? cells[k + 1].textContent]);
  return {
    ...Object.fromEntries(values), element, i,
    name: cells[1].querySelector(".open").textContent,
    content: about.querySelector(".content").textContent,
    style: about.querySelector(".style").textContent,
    reason: element.querySelector(".status").title,
    setting: element.dataset.setting,
  };
});
table.style.minWidth = `${60 + 7 * (heads.length - FIXED_HEADS)}rem`;
let order = rows.slice();
const collator = new Intl.Collator(undefined, { numeric: true });

function sort(head) {
  const key = head.dataset.key;
  const numeric = "numeric" in head.dataset;
  const down = head.getAttribute("aria-sort") === "ascending" || (numeric && head.getAttribute("aria-sort") === "none");
  for (const other of heads) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const sign = down ? -1 : 1;
  order = rows.slice().sort((a, b) => {
    if (!numeric) return sign * collator.compare(a[key], b[key]) || a.i - b.i;
    if (a[key] === "" || b[key] === "") return (a[key] === "") - (b[key] === "") || a.i - b.i; // unknown values last
    return sign * (a[key] - b[key]) || a.i - b.i;
  });
  const all = document.createDocumentFragment();
  all.append(...order.map((row) => row.element));
  body.append(all);
}
for (const head of heads) head.firstElementChild.addEventListener("click", () => sort(head));

const form = document.querySelector(".filters");
const fields = [...form.querySelectorAll("[data-filter]")];
const extra = {}; // filters of the matrix that have no field
function filter() {
  const active = { ...extra };
  for (const field of fields) active[field.dataset.filter] = field.value;
  let shown = 0;
  for (const row of rows) {
    const fits = Object.entries(active).every(([key, value]) => {
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

for (const matrix of document.querySelectorAll(".matrix")) {
  matrix.addEventListener("click", (event) => {
    const cell = event.target.closest("button");
    if (!cell) return;
    const { rows: rowKey, columns: columnKey, setting } = matrix.dataset;
    for (const [key, value] of [[rowKey, cell.dataset.row], [columnKey, cell.dataset.column], ["setting", setting]]) {
      const field = fields.find((one) => one.dataset.filter === key);
      if (field) field.value = value;
      else extra[key] = value;
    }
    filter();
    table.scrollIntoView({ block: "nearest" });
  });
}

// --- images, created when they become visible ---------------------------------------------------
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    observer.unobserve(entry.target);
    const image = entry.target.querySelector("img");
    image.src = imageUrl(Number(image.dataset.image));
  }
}, { root: table.parentElement, rootMargin: "600px" });
// First lay out the rows, then load their images.
requestAnimationFrame(() => setTimeout(() => {
  for (const image of body.querySelectorAll("img[data-image]")) observer.observe(image.closest("tr"));
}));

// --- details on demand --------------------------------------------------------------------------
const dialog = document.querySelector("dialog");
const content = dialog.querySelector(".dialog-body");
const moveButtons = dialog.querySelectorAll("[data-move]");
let player = null;
let heard = null; // sound, position and whether it plays; kept across pairs without sound
let open = -1;

function show(i) {
  const pair = data("details").pairs[i];
  const view = document.getElementById("detail").content.cloneNode(true);
  const { sources, axes } = data("details");
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
  pair.tracks.forEach(([index, width, seconds, name, about, reason], k) => {
    const track = root.querySelectorAll(".track")[k];
    track.querySelector(".name").textContent = name;
    track.querySelector(".about").textContent = about;
    track.querySelector(".wave").remove();
    track.dataset.seconds = seconds;
    const image = track.querySelector("image");
    image.setAttribute("href", imageUrl(index));
    image.setAttribute("width", `${width}%`);
    const message = track.querySelector(".reason");
    message.textContent = reason;
    message.hidden = !reason;
    const [url, offset] = (index >= 0 && sources[index]) || [];
    if (!url) return;
    track.dataset.offset = offset;
    const audio = document.createElement("audio");
    audio.preload = "metadata";
    audio.src = url;
    track.append(audio);
  });
  const axis = root.querySelector(".last .x-axis");
  for (const [at, text] of axes[pair.axis] ?? []) {
    axis.append(svgElement("text", { x: `${at}%`, y: 14, class: at === 0 ? "first" : at > 97 ? "last" : "" }, text));
  }
  const figure = view.querySelector(".chart");
  const { iteration = [], ...curves } = pair.losses;
  if (!drawChart(figure, iteration, curves, iteration[iteration.length - 1])) figure.remove();
  const measures = view.querySelector(".measures");
  if (pair.measures) {
    measures.querySelectorAll("td").forEach((cell, k) => {
      const value = pair.measures[k];
      cell.textContent = value === null ? "–" : (value * Number(cell.dataset.factor)).toFixed(Number(cell.dataset.decimals));
    });
  } else measures.remove();
  for (const button of moveButtons) button.disabled = !neighbor(Number(button.dataset.move));
  leave();
  content.replaceChildren(view);
  player = new Player(content.querySelector(".player"));
  if (!dialog.open) dialog.showModal();
  content.scrollTop = dialog.scrollTop = 0;
  if (heard) player.restore(heard);
}

function leave() {
  if (!player?.current) return;
  player.advance();
  heard = { role: player.current.role, position: player.position, playing: player.playing };
  player.toggle(false);
}

function neighbor(direction) {
  const visible = order.filter((row) => !row.element.hidden);
  return visible[visible.findIndex((row) => row.i === open) + direction];
}

body.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !String(getSelection())) show(Number(row.dataset.i));
});
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
for (const button of moveButtons) {
  button.addEventListener("mousedown", (event) => event.preventDefault()); // keep the focus: the space bar still plays
  button.addEventListener("click", () => show(neighbor(Number(button.dataset.move)).i));
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  leave();
  content.replaceChildren();
  player = heard = null;
  rows[open]?.element.querySelector(".open").focus();
});
document.addEventListener("keydown", (event) => { if (dialog.open && player) player.key(event); });
