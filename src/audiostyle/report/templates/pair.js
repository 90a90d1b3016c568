document.documentElement.classList.add("scripted");
const player = new Player(document.querySelector(".player"));
document.addEventListener("keydown", (event) => player.key(event));
