document.documentElement.classList.add("scripted");
// One player sounds at a time, and the keys are those of the player that was used last.
const players = [];
let active;
class OneOfSeveral extends Player {
  toggle(on = !this.playing) {
    if (on) for (const other of players) if (other !== this) other.toggle(false);
    super.toggle(on);
  }
}
for (const root of document.querySelectorAll(".player")) {
  const player = new OneOfSeveral(root);
  players.push(player);
  for (const type of ["pointerdown", "focusin"]) root.addEventListener(type, () => { active = player; });
}
active = players[0];
document.addEventListener("keydown", (event) => active.key(event));
addCopyButtons(document, (text) => active.announce(text));
