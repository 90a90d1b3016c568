"use strict";
// Three sounds on one time axis: one is audible, all have the same position.
const SEEK_SECONDS = 5; // per arrow key

function formatTime(seconds) {
  const tenths = Math.round(seconds * 10);
  const whole = Math.floor(tenths / 10);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  const text = parts.map((n, i) => (i ? String(n).padStart(2, "0") : String(n))).join(":");
  return `${text}.${tenths % 10}`;
}

class Player {
  constructor(root) {
    this.root = root;
    this.seconds = Number(root.dataset.seconds);
    this.position = 0;
    this.playing = false;
    this.current = null;
    this.find = (selector) => root.querySelector(selector);
    this.heads = [...root.querySelectorAll(".head")];
    this.seekbar = this.find(".seek");
    this.sounds = [...root.querySelectorAll(".track")].map((track) => this.setUp(track));
    this.find(".play").addEventListener("click", () => this.toggle());
    this.seekbar.addEventListener("input", () => this.seek(Number(this.seekbar.value)));
    const last = [...this.sounds].reverse().find((sound) => sound.audio);
    if (last) this.select(last);
    else this.find(".play").disabled = this.seekbar.disabled = true;
    this.show();
  }

  setUp(track) {
    const role = track.dataset.role;
    const sound = {
      role, track, audio: track.querySelector("audio"), offset: Number(track.dataset.offset),
      seconds: Number(track.dataset.seconds),
      button: this.find(`.switch [data-role="${role}"]`),
      label: track.querySelector("b").textContent,
    };
    const { audio, button } = sound;
    button.disabled = !audio;
    // A click must not move the focus to the button: the space bar still plays.
    for (const one of [button, this.find(".play")]) {
      one.addEventListener("pointerdown", (event) => event.preventDefault());
      one.addEventListener("mousedown", (event) => event.preventDefault());
    }
    button.addEventListener("click", () => this.select(sound));
    if (audio) {
      audio.controls = false;
      audio.addEventListener("error", () => this.fail(sound));
      audio.addEventListener("loadedmetadata", () => {
        if (sound === this.current) audio.currentTime = this.audioTime(sound);
      });
      audio.addEventListener("ended", () => { if (sound === this.current && this.playing) this.repeat(sound); });
    }
    for (const plot of track.querySelectorAll(".plot")) {
      const go = (event) => {
        const box = plot.getBoundingClientRect();
        this.seek(((event.clientX - box.left) / box.width) * this.seconds);
      };
      plot.addEventListener("pointerdown", (event) => {
        if (event.button === 0) { plot.setPointerCapture(event.pointerId); go(event); }
      });
      plot.addEventListener("pointermove", (event) => { if (plot.hasPointerCapture(event.pointerId)) go(event); });
    }
    return sound;
  }

  // A sound that is shorter than the time axis repeats.
  audioTime(sound) {
    const length = sound.seconds || this.seconds;
    const inside = this.position >= length && this.position < this.seconds ? this.position % length : Math.min(this.position, length);
    return sound.offset + inside;
  }

  select(sound) {
    if (!sound.audio || sound === this.current) return;
    this.advance();
    const before = this.current;
    this.current = sound;
    for (const other of this.sounds) {
      const on = other === sound;
      other.button.setAttribute("aria-checked", String(on));
      other.button.tabIndex = on ? 0 : -1;
      other.track.classList.toggle("audible", on);
    }
    if (before) before.audio.pause();
    sound.audio.currentTime = this.audioTime(sound);
    if (this.playing) this.start();
    this.announce(`${sound.label}, ${formatTime(this.position)}`);
    this.show();
  }

  start() {
    const started = this.current.audio.play();
    if (started) started.catch((error) => { if (error.name !== "AbortError") this.fail(this.current); });
  }

  toggle(on = !this.playing) {
    if (!this.current || on === this.playing) return;
    this.advance();
    this.playing = on;
    this.root.classList.toggle("playing", on);
    this.find(".play").setAttribute("aria-label", on ? "Pause" : "Play");
    if (on) {
      if (this.position >= this.seconds - 0.05) this.position = 0;
      this.current.audio.currentTime = this.audioTime(this.current);
      this.start();
      requestAnimationFrame(() => this.tick());
    } else {
      this.current.audio.pause();
    }
    this.show();
  }

  repeat(sound) {
    if (this.position < this.seconds - 0.2 && sound.seconds < this.seconds - 0.2) {
      this.position = Math.max(this.position, sound.seconds * (Math.floor(this.position / sound.seconds + 0.5)));
      sound.audio.currentTime = sound.offset;
      this.start();
    } else this.finish();
  }

  finish() {
    this.position = this.seconds;
    this.current.audio.pause();
    this.playing = false;
    this.root.classList.remove("playing");
    this.find(".play").setAttribute("aria-label", "Play");
    this.show();
  }

  // Follow the position of the audible sound.
  advance() {
    if (!this.playing || !this.current || this.current.audio.paused || this.current.audio.seeking) return;
    const sound = this.current;
    const length = sound.seconds || this.seconds;
    const rounds = this.position < this.seconds ? Math.floor(this.position / length) : 0;
    const now = Math.max(0, sound.audio.currentTime - sound.offset) + rounds * length;
    if (Math.abs(now - this.position) < length / 2) this.position = Math.min(now, this.seconds);
    if (sound.audio.currentTime - sound.offset >= length && this.playing) this.repeat(sound);
  }

  tick() {
    if (!this.playing || !this.root.isConnected) { if (this.current) this.current.audio.pause(); return; }
    this.advance();
    if (this.position >= this.seconds) this.finish();
    else this.show();
    if (this.playing) requestAnimationFrame(() => this.tick());
  }

  seek(seconds) {
    if (!this.current) return;
    this.position = Math.min(Math.max(seconds, 0), this.seconds);
    this.current.audio.currentTime = this.audioTime(this.current);
    this.show();
  }

  show() {
    const share = this.seconds ? (100 * this.position) / this.seconds : 0;
    for (const head of this.heads) {
      const x = head.ownerSVGElement.classList.contains("wave") ? String(share * 10) : `${share}%`;
      head.setAttribute("x1", x);
      head.setAttribute("x2", x);
    }
    const text = `${formatTime(this.position)} / ${formatTime(this.seconds)}`;
    this.find(".time").textContent = text;
    if (document.activeElement !== this.seekbar || !this.seekbar.matches(":active")) this.seekbar.value = String(this.position);
    this.seekbar.setAttribute("aria-valuetext", text.replace("/", "of"));
  }

  fail(sound) {
    sound.button.disabled = true;
    const reason = sound.track.querySelector(".reason");
    reason.hidden = false;
    reason.textContent = "This browser cannot play the file, or cannot find it.";
    this.announce(`${sound.label}: cannot be played`);
    if (sound === this.current) {
      this.toggle(false);
      const other = this.sounds.find((one) => one.audio && !one.button.disabled);
      if (other) this.select(other);
    }
  }

  announce(text) { this.find(".announcement").textContent = text; }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const target = event.target;
    const typed = target.closest("select, textarea, input:not([type=range])");
    if (typed) return false;
    if (event.key >= "1" && event.key <= String(this.sounds.length)) {
      this.select(this.sounds[Number(event.key) - 1]);
    } else if (event.key === " ") {
      // A focused button or link handles the key itself.
      if (target.closest("button, a, summary")) return false;
      this.toggle();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const direction = event.key === "ArrowLeft" ? -1 : 1;
      if (target.closest("[role=radio]")) this.selectNext(direction);
      else if (target.closest(".scroll")) return false;
      else { this.advance(); this.seek(this.position + direction * (event.shiftKey ? 1 : SEEK_SECONDS)); }
    } else if (event.key === "Home") this.seek(0);
    else return false;
    event.preventDefault();
    return true;
  }

  // Take over sound, position and playing from the player of another pair.
  continueFrom(other) {
    const sound = other.current && this.sounds.find((one) => one.role === other.current.role);
    if (sound) this.select(sound);
    this.seek(other.position < this.seconds ? other.position : 0);
    if (other.playing) this.toggle(true);
    other.toggle(false);
  }

  selectNext(direction) {
    const enabled = this.sounds.filter((sound) => !sound.button.disabled);
    const next = enabled[(enabled.indexOf(this.current) + direction + enabled.length) % enabled.length];
    this.select(next);
    next.button.focus();
  }
}
