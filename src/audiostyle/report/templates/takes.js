document.documentElement.classList.add("scripted");
const dataElement = document.getElementById("data");
const page = JSON.parse(dataElement.textContent);
dataElement.remove(); // during a blind test the document holds no name

const root = document.querySelector(".player");
const body = root.querySelector(".takes").tBodies[0];
const REFERENCE = "reference"; // the content, hidden among the takes
const takes = new Map(page.takes.map((take, i) => [`take${i + 1}`, take]));
takes.set(REFERENCE, { id: REFERENCE, name: `${page.content.name} (the content)`, settings: {}, scores: {}, command: "" });
addReference();
const player = new Player(root);
const sounds = new Map(player.sounds.map((sound) => [sound.role, sound]));
const secrets = [...document.querySelectorAll("[data-secret]")].map((element) => ({ element, mark: document.createComment("") }));
const action = (name) => root.querySelector(`[data-action=${name}]`);

function addReference() {
  const row = body.rows[1].cloneNode(true);
  const { seconds, offset } = body.rows[0].dataset;
  Object.assign(row.dataset, { role: REFERENCE, seconds, offset });
  for (const cell of row.querySelectorAll("td[data-secret]")) cell.textContent = "";
  for (const one of row.querySelectorAll("details, .status, audio")) one.remove();
  row.querySelector("b").textContent = "";
  for (const input of row.querySelectorAll("input")) input.name = `stars-${REFERENCE}`;
  const audio = body.rows[0].querySelector("audio");
  if (audio) row.querySelector("th").append(audio.cloneNode());
  row.hidden = true;
  body.append(row);
}

// --- ratings, kept by the content of the page and the digest of the take --------------------------
const STORAGE_KEY = `audiostyle takes ${page.id}`;
const state = { ratings: {}, blind: null };
try {
  Object.assign(state, JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}"));
} catch { notKept(); }

function notKept() {
  root.querySelector(".kept").textContent = "This browser does not keep stars and notes: export them before you leave.";
}

function save() {
  try { localStorage.setItem(STORAGE_KEY, JSON.stringify(state)); } catch { notKept(); }
}

const ratings = () => (state.blind ? state.blind.ratings : state.ratings);
const ratingOf = (role) => ({ stars: 0, note: "", ...ratings()[takes.get(role).id] });
const roleOf = (element) => element.closest("tr").dataset.role;

function rate(role, change) {
  ratings()[takes.get(role).id] = { ...ratingOf(role), ...change };
  if (state.blind) state.blind.exported = false;
  save();
}

function showRatings() {
  const locked = Boolean(state.blind?.revealed);
  for (const role of takes.keys()) {
    const { track } = sounds.get(role);
    const { stars, note } = ratingOf(role);
    for (const input of track.querySelectorAll(".stars input")) {
      input.checked = Number(input.value) === stars;
      input.disabled = locked;
    }
    const field = track.querySelector("textarea");
    field.value = note;
    field.disabled = locked;
  }
}

// A click on the star that is set, or the key Delete, takes the rating back.
body.addEventListener("click", (event) => {
  const star = event.target.closest(".stars input");
  if (star) {
    const role = roleOf(star), stars = Number(star.value);
    rate(role, { stars: ratingOf(role).stars === stars ? 0 : stars });
    star.checked = ratingOf(role).stars === stars;
  } else if (!event.target.closest("button, a, label, textarea, summary, code") && !String(getSelection())) {
    const row = event.target.closest("tr");
    if (row) player.select(sounds.get(row.dataset.role));
  }
});
body.addEventListener("input", (event) => {
  if (event.target.matches("textarea")) rate(roleOf(event.target), { note: event.target.value });
});
document.addEventListener("keydown", (event) => {
  const star = event.target.closest(".stars input");
  if (star && (event.key === "Delete" || event.key === "Backspace")) {
    rate(roleOf(star), { stars: 0 });
    showRatings();
  } else player.key(event);
});

// --- order and names ------------------------------------------------------------------------------
const isBlind = () => Boolean(state.blind && !state.blind.revealed);

// Fisher-Yates with mulberry32, so that a seed gives the same order everywhere.
function shuffled(items, seed) {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    const j = Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

function order() {
  const { blind } = state;
  const roles = [...takes.keys()].filter((role) => role !== REFERENCE || blind?.reference);
  return blind ? shuffled(roles, blind.seed) : roles;
}

function arrange() {
  const { blind } = state;
  for (const { element, mark } of secrets) {
    if (isBlind()) element.replaceWith(mark);
    else mark.replaceWith(element);
  }
  const shown = ["content", ...order()];
  for (const [role, { track, button }] of sounds) track.hidden = button.hidden = !shown.includes(role);
  player.sounds = shown.map((role) => sounds.get(role));
  player.sounds.forEach((sound, i) => {
    const { track, button, role } = sound;
    sound.label = i === 0 ? "Content" : isBlind() ? `Take ${i}` : takes.get(role).name;
    sound.key = i < 10 ? String(i) : "";
    button.textContent = i === 0 ? "0 Content" : String(i);
    button.setAttribute("aria-label", `${i}: ${sound.label}`);
    if (sound.key) button.setAttribute("aria-keyshortcuts", sound.key);
    else button.removeAttribute("aria-keyshortcuts");
    track.querySelector(".position").textContent = String(i);
    track.querySelector("b").textContent = sound.label;
    if (i > 0) {
      track.querySelector("legend").textContent = `Rating of take ${i}`;
      track.querySelector("textarea").setAttribute("aria-label", `Notes on take ${i}`);
    }
    button.parentElement.append(button);
    body.append(track);
  });
  action("start").hidden = action("reference").hidden = Boolean(blind);
  action("reveal").hidden = !isBlind();
  action("end").hidden = !blind;
  root.querySelector(".state").textContent = !blind ? "Hides the names, shuffles the takes, and asks for new ratings."
    : isBlind() ? `Names are hidden and the takes are shuffled (seed ${blind.seed}). An export holds the names.`
      : `The test has ended (seed ${blind.seed}); its ratings can no longer change.`;
  showRatings();
  if (!shown.includes(player.current?.role)) player.select(sounds.get("content"));
  showPicture();
}

function showPicture() {
  const current = player.current ?? sounds.get("content");
  const [image, width, wave] = page.pictures[isBlind() ? "content" : current.role] ?? page.pictures.content;
  const figure = root.querySelector(".picture");
  figure.querySelector("image").setAttribute("href", image);
  figure.querySelector("image").setAttribute("width", `${width}%`);
  figure.querySelector("path").setAttribute("d", wave);
  figure.querySelector("b").textContent = isBlind() ? "Content (those of the takes are hidden)" : current.label;
}
root.addEventListener("select", showPicture);

// Buttons do not keep the focus, and these two give it to the sounds: the space bar must play, and
// not reveal the names.
root.addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });
function change(blind) {
  state.blind = blind;
  save();
  arrange();
  player.current.button.focus();
}
action("start").addEventListener("click", () => {
  const [seed] = crypto.getRandomValues(new Uint32Array(1));
  const reference = action("reference").querySelector("input").checked;
  player.select(sounds.get("content"));
  change({ seed, reference, started: new Date().toISOString(), revealed: false, exported: false, ratings: {} });
});
action("reveal").addEventListener("click", () => change({ ...state.blind, revealed: true }));
action("end").addEventListener("click", () => {
  const isLost = Object.keys(ratings()).length && !state.blind.exported;
  if (!isLost || confirm("The ratings of this test were not exported. End it and drop them?")) change(null);
});

// --- export and copy ------------------------------------------------------------------------------
function exported() {
  return order().map((role, i) => {
    const { id, name, settings, scores, command } = takes.get(role);
    return { position: i + 1, take: name, sha256: role === REFERENCE ? page.content.id : id, settings, scores, ...ratingOf(role), command };
  });
}

function toCsv() {
  const { settings, scores } = page.takes[0];
  const names = { settings: Object.keys(settings), scores: Object.keys(scores) };
  const quote = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const rows = exported().map((row) => [
    row.position, row.take, row.sha256, ...names.settings.map((name) => row.settings[name]), ...names.scores.map((name) => row.scores[name]),
    row.stars || "", row.note, Boolean(state.blind), state.blind?.seed,
  ]);
  const head = ["position", "take", "sha256", ...names.settings, ...names.scores, "stars", "note", "blind", "seed"];
  return [head, ...rows].map((row) => `${row.map((value) => quote(String(value ?? ""))).join(",")}\r\n`).join("");
}

function toJson() {
  const { ratings: _, exported: __, ...blind } = state.blind ?? {};
  const result = { content: page.content.name, sha256: page.content.id, exported: new Date().toISOString(), blind: state.blind && blind, takes: exported() };
  return `${JSON.stringify(result, null, 2)}\n`;
}

function download(text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: `text/${type}` }));
  link.download = `${page.content.name.replace(/\.[^.]*$/, "")}-ratings.${type}`;
  link.click();
  if (state.blind) state.blind.exported = true;
  save();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
action("csv").addEventListener("click", () => download(toCsv(), "csv"));
action("json").addEventListener("click", () => download(toJson(), "json"));

addCopyButtons(root, (text) => player.announce(text));

arrange();
player.select(sounds.get("content"));
