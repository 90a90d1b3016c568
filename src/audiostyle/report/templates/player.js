"use strict";
// Sounds on one time axis: one is audible, all have the same position.
const SEEK_SECONDS = 5; // per arrow key
const FADE_SECONDS = 0.006; // from one sound to another
const LEAD_SECONDS = 0.02; // between the call and the start of all sounds
const DECODED_RATE = 48000;
const MIN_LOOP_SECONDS = 0.05;
const DRAG_PIXELS = 4; // less is a click

function formatTime(seconds) {
  const tenths = Math.round(seconds * 10);
  const whole = Math.floor(tenths / 10);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  const text = parts.map((n, i) => (i ? String(n).padStart(2, "0") : String(n))).join(":");
  return `${text}.${tenths % 10}`;
}

function bytesOf(dataUrl) {
  const text = atob(dataUrl.slice(dataUrl.indexOf(",") + 1));
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

// Sounds on the page: decoded, and started together. A switch is a cross-fade of two gains.
class DecodedOutput {
  constructor(sounds, seconds, fail) {
    this.seconds = seconds;
    this.running = new Map(); // source and gain of each sound
    this.loop = null;
    this.turn = 0; // of the last start or stop; an older start that was waiting is void
    this.ready = this.load(sounds, fail);
  }

  // First the page is shown; then each sound is decoded in a task of its own, so that nothing stalls.
  async load(sounds, fail) {
    const decoder = new OfflineAudioContext(1, 1, DECODED_RATE);
    const decoded = {};
    const tasks = [];
    await new Promise((done) => requestAnimationFrame(done));
    for (const sound of sounds) {
      await new Promise((done) => setTimeout(done));
      decoded[sound.url] ??= decoder.decodeAudioData(bytesOf(sound.url));
      const task = decoded[sound.url].then((buffer) => { sound.buffer = this.fit(buffer, sound.seconds); });
      tasks.push(task.catch(() => fail(sound)));
    }
    await Promise.all(tasks);
    this.sounds = sounds.filter((sound) => sound.buffer);
  }

  // Bring a sound to the length of the time axis; one that is shorter repeats.
  fit(decoded, seconds) {
    const n = Math.max(1, Math.round(this.seconds * DECODED_RATE));
    const period = seconds < this.seconds - 0.2 ? Math.round(seconds * DECODED_RATE) : n;
    const buffer = new AudioBuffer({ length: n, numberOfChannels: decoded.numberOfChannels, sampleRate: DECODED_RATE });
    for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
      const y = decoded.getChannelData(channel).subarray(0, period);
      for (let first = 0; first < n; first += period) buffer.copyToChannel(y.subarray(0, n - first), channel, first);
    }
    return buffer;
  }

  async start(position, current) {
    const turn = ++this.turn;
    const context = (DecodedOutput.context ??= new AudioContext());
    this.halt();
    await Promise.all([this.ready, context.resume()]);
    if (turn !== this.turn) return;
    this.from = position;
    this.began = context.currentTime + LEAD_SECONDS;
    this.master = new GainNode(context);
    this.master.connect(context.destination);
    for (const sound of this.sounds) {
      const source = new AudioBufferSourceNode(context, { buffer: sound.buffer });
      const gain = new GainNode(context, { gain: sound === current ? 1 : 0 });
      source.connect(gain).connect(this.master);
      source.start(this.began, position);
      this.running.set(sound, { source, gain: gain.gain });
    }
    this.setLoop(this.loop);
  }

  stop() {
    this.turn += 1;
    this.halt();
  }

  halt() {
    const end = (DecodedOutput.context?.currentTime ?? 0) + FADE_SECONDS;
    for (const { source, gain } of this.running.values()) {
      this.fade(gain, 0);
      source.stop(end);
    }
    this.running.clear();
  }

  select(current) {
    for (const [sound, { gain }] of this.running) this.fade(gain, sound === current ? 1 : 0);
  }

  fade(gain, value) {
    const now = DecodedOutput.context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(value, now + FADE_SECONDS);
  }

  // The position of what is playing; null before it starts.
  position() {
    if (!this.running.size) return null;
    const at = this.from + Math.max(0, DecodedOutput.context.currentTime - this.began);
    const { loop } = this;
    return loop && at >= loop.end ? loop.start + ((at - loop.start) % (loop.end - loop.start)) : at;
  }

  setLoop(loop) {
    const at = this.position();
    this.loop = loop;
    if (at === null) return;
    const waiting = Math.max(0, this.began - DecodedOutput.context.currentTime);
    this.from = at;
    this.began = DecodedOutput.context.currentTime + waiting;
    for (const { source } of this.running.values()) {
      source.loop = Boolean(loop);
      if (loop) [source.loopStart, source.loopEnd] = [loop.start, loop.end];
    }
  }

  follow() {} // nothing drifts

  audible() {
    return [...this.running].filter(([, { gain }]) => gain.value > 0.5).map(([sound]) => sound);
  }
}

// Sounds in files, which a page may play but not read. All play, and all but one are muted; those
// that drift play a little faster or slower until they agree with the one that is heard.
class LinkedOutput {
  constructor(sounds, seconds, fail) {
    this.seconds = seconds;
    this.sounds = sounds;
    this.current = null;
    this.on = false;
    for (const sound of sounds) {
      sound.audio = new Audio();
      sound.audio.preload = "auto";
      sound.audio.addEventListener("error", () => fail(sound));
      sound.audio.src = sound.url;
    }
    this.fail = fail;
  }

  // Where a sound is in its file at a position; one that is shorter than the time axis repeats.
  timeOf(sound, position) {
    const repeats = sound.seconds && sound.seconds < this.seconds - 0.2;
    return sound.offset + (repeats ? position % sound.seconds : position);
  }

  start(position, current) {
    this.on = true;
    this.last = position;
    this.select(current);
    for (const sound of this.sounds) this.play(sound, position);
  }

  play(sound, position) {
    sound.audio.currentTime = this.timeOf(sound, position);
    const started = sound.audio.play();
    if (started) started.catch((error) => { if (error.name !== "AbortError") this.fail(sound); });
  }

  stop() {
    this.on = false;
    for (const sound of this.sounds) sound.audio.pause();
  }

  select(current) {
    const at = this.position();
    this.current = current;
    for (const sound of this.sounds) {
      sound.audio.muted = sound !== current;
      sound.audio.playbackRate = 1;
    }
    if (at !== null && Math.abs(this.drift(current, at)) > 0.015) current.audio.currentTime = this.timeOf(current, at);
  }

  drift(sound, position) { return sound.audio.currentTime - this.timeOf(sound, position); }

  position() {
    const { current, on } = this;
    if (!on || !current || current.audio.readyState < 2 || current.audio.seeking || current.audio.paused) return null;
    const inside = Math.max(0, current.audio.currentTime - current.offset);
    const length = current.seconds || this.seconds;
    const rounds = length < this.seconds - 0.2 ? Math.max(0, Math.round((this.last - inside) / length)) : 0;
    this.last = inside + rounds * length;
    return this.last;
  }

  setLoop() {} // the player seeks at the end of a loop

  follow(position) {
    for (const sound of this.sounds) {
      const { audio } = sound;
      if (audio.error || audio.readyState < 2 || audio.seeking) continue;
      const drift = this.drift(sound, position);
      if (audio.ended || (audio.paused && this.on) || Math.abs(drift) > 0.3) this.play(sound, position);
      else if (sound !== this.current) audio.playbackRate = Math.abs(drift) < 0.004 ? 1 : 1 - Math.max(-0.2, Math.min(0.2, 4 * drift));
    }
  }

  audible() { return this.sounds.filter(({ audio }) => !audio.paused && !audio.muted); }
}

class Player {
  constructor(root) {
    this.root = root;
    this.seconds = Number(root.dataset.seconds);
    this.position = 0;
    this.playing = false;
    this.current = null;
    this.loop = null;
    this.find = (selector) => root.querySelector(selector);
    this.seekbar = this.find(".seek");
    this.clearButton = this.find(".clear-loop");
    this.sounds = [...root.querySelectorAll(".track")].map((track) => this.setUp(track));
    this.plots = [...root.querySelectorAll(".plot:not(.chart *)")];
    for (const plot of this.plots) this.setUpPlot(plot);
    this.marks = [...root.querySelectorAll(".head")];
    const playable = this.sounds.filter((sound) => sound.url);
    const Output = playable.every((sound) => sound.url.startsWith("data:")) ? DecodedOutput : LinkedOutput;
    this.output = new Output(playable, this.seconds, (sound) => this.fail(sound));
    this.keepFocus(this.find(".play"), () => this.toggle());
    this.keepFocus(this.clearButton, () => this.setLoop(null));
    this.seekbar.addEventListener("input", () => this.seek(Number(this.seekbar.value)));
    if (playable.length) this.select(playable[playable.length - 1]);
    else this.find(".play").disabled = this.seekbar.disabled = true;
    this.show();
  }

  setUp(track) {
    const { role } = track.dataset;
    // Without scripts the elements have controls; with scripts they are not needed.
    const audio = track.querySelector("audio");
    const sound = {
      role, track, url: audio?.src ?? "", offset: Number(track.dataset.offset), seconds: Number(track.dataset.seconds),
      button: this.find(`.switch [data-role="${role}"]`), label: track.querySelector("b").textContent,
    };
    if (audio) {
      audio.removeAttribute("src");
      audio.remove();
    }
    sound.key = sound.button.getAttribute("aria-keyshortcuts") ?? "";
    sound.button.disabled = !audio;
    this.keepFocus(sound.button, () => this.select(sound));
    return sound;
  }

  // A click must not move the focus to the button: the space bar still plays.
  keepFocus(button, action) {
    for (const type of ["pointerdown", "mousedown"]) button.addEventListener(type, (event) => event.preventDefault());
    button.addEventListener("click", action);
  }

  // A click goes to a position, and dragging makes a loop.
  setUpPlot(plot) {
    const region = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    region.setAttribute("class", "region");
    region.setAttribute("height", "100%");
    plot.insertBefore(region, plot.querySelector(".head"));
    let first = null;
    const timeAt = (x) => {
      const box = plot.getBoundingClientRect();
      return Math.min(Math.max((x - box.left) / box.width, 0), 1) * this.seconds;
    };
    plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      plot.setPointerCapture(event.pointerId);
      first = event.clientX;
    });
    const drag = (event, ended) => {
      if (first === null) return;
      const times = [timeAt(first), timeAt(event.clientX)].sort((a, b) => a - b);
      const dragged = Math.abs(event.clientX - first) >= DRAG_PIXELS;
      if (ended) first = null;
      if (!dragged) { if (ended) this.seek(times[0]); } else if (ended) this.setLoop({ start: times[0], end: times[1] });
      else this.showLoop({ start: times[0], end: times[1] });
    };
    plot.addEventListener("pointermove", (event) => drag(event, false));
    plot.addEventListener("pointerup", (event) => drag(event, true));
    plot.addEventListener("pointercancel", () => { first = null; this.showLoop(this.loop); });
  }

  select(sound) {
    if (!sound.url || sound.button.disabled || sound === this.current) return;
    this.advance();
    this.current = sound;
    for (const other of this.sounds) {
      const on = other === sound;
      other.button.setAttribute("aria-checked", String(on));
      other.button.tabIndex = on ? 0 : -1;
      other.track.classList.toggle("audible", on);
    }
    this.output.select(sound);
    this.announce(`${sound.label}, ${formatTime(this.position)}`);
    this.root.dispatchEvent(new CustomEvent("select"));
    this.show();
  }

  toggle(on = !this.playing) {
    if (!this.current || on === this.playing) return;
    this.advance();
    this.setPlaying(on);
    if (on) {
      if (this.position >= this.seconds - 0.05) this.position = 0;
      if (this.loop && !this.isInLoop()) this.position = this.loop.start;
      this.output.start(this.position, this.current);
      requestAnimationFrame(() => this.tick());
    } else this.output.stop();
    this.show();
  }

  setPlaying(on) {
    this.playing = on;
    this.root.classList.toggle("playing", on);
    this.find(".play").setAttribute("aria-label", on ? "Pause" : "Play");
  }

  isInLoop() { return this.position >= this.loop.start && this.position < this.loop.end; }

  advance() {
    if (this.playing) this.position = Math.min(this.output.position() ?? this.position, this.seconds);
  }

  tick() {
    if (!this.playing) return;
    if (!this.root.isConnected) { this.toggle(false); return; }
    this.advance();
    this.output.follow(this.position);
    if (this.loop && this.position >= this.loop.end) this.seek(this.loop.start);
    else if (this.position >= this.seconds) {
      this.setPlaying(false);
      this.output.stop();
    }
    this.show();
    requestAnimationFrame(() => this.tick());
  }

  seek(seconds) {
    if (!this.current) return;
    this.position = Math.min(Math.max(seconds, 0), this.seconds);
    if (this.loop && !this.isInLoop()) this.position = this.loop.start;
    if (this.playing) this.output.start(this.position, this.current);
    this.show();
  }

  setLoop(loop) {
    if (loop && loop.end - loop.start < MIN_LOOP_SECONDS) loop = null;
    this.advance();
    this.loop = loop;
    this.output.setLoop(loop);
    if (loop && !this.isInLoop()) this.seek(loop.start);
    this.announce(loop ? `Loop from ${formatTime(loop.start)} to ${formatTime(loop.end)}` : "No loop");
    this.showLoop(loop);
    this.show();
  }

  // The keys I and O set one end of the loop to the position.
  setLoopEnd(end) {
    this.advance();
    const { start, end: stop } = this.loop ?? { start: 0, end: this.seconds };
    this.setLoop(end ? { start: Math.min(start, this.position), end: this.position }
      : { start: this.position, end: stop > this.position ? stop : this.seconds });
  }

  showLoop(loop) {
    const share = (seconds) => `${this.seconds ? (100 * seconds) / this.seconds : 0}%`;
    for (const region of this.root.querySelectorAll(".region")) {
      region.setAttribute("x", share(loop?.start ?? 0));
      region.setAttribute("width", share(loop ? loop.end - loop.start : 0));
    }
    this.clearButton.hidden = !loop;
    if (loop) this.clearButton.textContent = `Loop ${formatTime(loop.start)}\u2013${formatTime(loop.end)} \u00d7`;
  }

  show() {
    const share = this.seconds ? (100 * this.position) / this.seconds : 0;
    for (const mark of this.marks) {
      mark.setAttribute("x1", `${share}%`);
      mark.setAttribute("x2", `${share}%`);
    }
    const text = `${formatTime(this.position)} / ${formatTime(this.seconds)}`;
    this.find(".time").textContent = text;
    if (document.activeElement !== this.seekbar || !this.seekbar.matches(":active")) this.seekbar.value = String(this.position);
    this.seekbar.setAttribute("aria-valuetext", text.replace("/", "of"));
  }

  fail(sound) {
    if (sound.button.disabled) return;
    sound.button.disabled = true;
    const reason = sound.track.querySelector(".reason");
    reason.hidden = false;
    reason.textContent = "This browser cannot play the file, or cannot find it.";
    this.announce(`${sound.label}: cannot be played`);
    if (sound !== this.current) return;
    const other = this.sounds.find((one) => one.url && !one.button.disabled);
    if (other) this.select(other);
    else this.toggle(false);
  }

  announce(text) { this.find(".announcement").textContent = text; }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { key, target } = event;
    if (target.closest("select, textarea, input:not([type=range], [type=radio], [type=checkbox])")) return false;
    const sound = this.sounds.find((one) => one.key && one.key === key);
    if (sound) this.select(sound);
    else if (key === " ") {
      // A focused button or link handles the key itself; the sound that has the focus is selected.
      if (target.closest("button:not([role=radio]), a, summary, [type=checkbox]")) return false;
      this.toggle();
    } else if (key === "ArrowLeft" || key === "ArrowRight") {
      const direction = key === "ArrowLeft" ? -1 : 1;
      if (target.closest("[role=radio]")) this.selectNext(direction);
      else if (target.closest(".scroll, [type=radio]")) return false;
      else { this.advance(); this.seek(this.position + direction * (event.shiftKey ? 1 : SEEK_SECONDS)); }
    } else if (key === "Home") this.seek(this.loop?.start ?? 0);
    else if (key === "i" || key === "o") this.setLoopEnd(key === "o");
    else if (key === "Escape" && this.loop) this.setLoop(null);
    else return false;
    event.preventDefault();
    return true;
  }

  // Take over sound, position and playing from `state`, which is that of another player.
  restore({ role, position, playing }) {
    const sound = this.sounds.find((one) => one.role === role);
    if (sound) this.select(sound);
    this.seek(position < this.seconds ? position : 0);
    if (playing) this.toggle(true);
  }

  selectNext(direction) {
    const enabled = this.sounds.filter((sound) => !sound.button.disabled);
    const next = enabled[(enabled.indexOf(this.current) + direction + enabled.length) % enabled.length];
    this.select(next);
    next.button.focus();
  }
}
