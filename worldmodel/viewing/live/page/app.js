// The live page: one connection, what it tells, and the buttons.

import { drawApart, drawDifference, drawMap } from "./charts.js";
import { makePainter } from "./paint.js";
import { makeSteering } from "./steer.js";

const find = (id) => document.getElementById(id);
const REASONS = {
  4400: "The session closed this connection: too many messages that it did not understand.",
  4410: "The session has ended. Start it again where it was started.",
  4429: "Too many people are watching already.",
};
const FINAL = new Set([4400, 4401, 4410, 4429]);
const TRAIL = 15; // frames

let socket = null, wait = 500, world = null, frame = null, apart = [], chosen = null, drawing = 0, shown = null;
const map = { cloud: [], trail: [], at: null, dreamt: null, goal: null, paths: [], elites: [], course: [] };

// ---- the connection

let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token") ?? "";

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token }));
  socket.onmessage = (event) => {
    wait = 500;
    const message = JSON.parse(event.data);
    handlers[message.type]?.(message);
  };
  socket.onclose = (event) => {
    if (event.code === 4401) return askForToken();
    status(REASONS[event.code] ?? "Connection lost. Trying again…", true);
    if (!FINAL.has(event.code)) setTimeout(connect, wait);
    wait = Math.min(2 * wait, 5000);
  };
}
// A page that the browser keeps in the background, to go back to, does not watch.
addEventListener("pagehide", () => {
  socket.onclose = null;
  socket.close();
});
addEventListener("pageshow", (event) => event.persisted && connect());
function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}
function status(text, lost = false) {
  find("status").textContent = text;
  find("status").classList.toggle("lost", lost);
}
function askForToken() {
  status("A token is needed.", true);
  if (token) find("door-why").textContent = "That token is not the right one. It is at the end of the address that the command printed.";
  find("door").showModal();
}
find("door").addEventListener("close", () => {
  token = find("token").value;
  find("token").value = "";
  if (token) connect();
  else askForToken();
});
let noteTimer = 0;
function note(text) {
  find("note").textContent = text;
  find("note").hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => (find("note").hidden = true), 5000);
}

// ---- what the session tells

const handlers = {
  world(message) {
    world = message;
    if (token) sessionStorage.setItem("token", token);
    document.documentElement.style.setProperty("--shape", `${message.width} / ${message.height}`);
    find("env").textContent = `${message.env}, run “${message.run}”`;
    find("horizon").max = message.longest_horizon;
    find("episode").max = message.whole_frames.length - 1;
    map.cloud = message.cloud;
    steering.world(message);
    if (shown === null) showEpisode(message.held_out[0]);
  },
  settings(message) {
    for (const [name, value] of Object.entries({ ...message, ...message.factors })) {
      const field = find(name);
      if (!field || field === document.activeElement) continue;
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    tellSettings();
  },
  frame(message) {
    const before = frame;
    frame = message;
    find("real").src = message.real;
    find("dream").src = message.dream;
    if (message.since === 0) apart = [];
    apart[message.since] = message.apart;
    if (before && message.since !== before.since + 1 && message.since !== before.since) map.trail = [];
    map.trail = [...map.trail, message.at].slice(-TRAIL);
    map.at = message.at;
    map.dreamt = message.dreamt;
    const busy = ["searching", "showing", "acting", "done"].includes(message.doing);
    if (message.doing !== "steering") steering.follow(message.action);
    if (busy || (["steering", "wandering"].includes(message.doing) && message.since > 10)) find("hint").hidden = true;
    press("pause", message.paused);
    press("wander", message.doing === "wandering");
    find("plan").disabled = busy || map.goal === null;
    find("stop").disabled = !busy;
    for (const id of ["wander", "look"]) find(id).disabled = busy;
    const people = message.watching === 1 ? "1 watching" : `${message.watching} watching`;
    const still = message.paused ? "Paused" : { ready: "Ready", searching: "Planning", showing: "Planning" }[message.doing];
    status(still ? `${still} · ${people}` : `${message.rate.toFixed(0)} dream frames/s · ${people}`);
    const distance = message.distance === null ? "" : `${length(message.distance)} away; within ${length(world.tolerance)} counts. `;
    find("goal-distance").textContent = message.to_goal === null ? "" : distance || `${percent(message.to_goal)} as far away as an unrelated frame`;
    redraw();
  },
  goal(message) {
    for (const [id, picture] of [["goal", message.image], ["goal-seen", message.seen]]) {
      find(id).src = picture;
      find(id).hidden = false;
    }
    find("goal").alt = `Goal: ${message.name}`;
    find("goal-seen").alt = "The goal as the model sees it";
    find("goal-name").textContent = message.name[0].toUpperCase() + message.name.slice(1);
    map.goal = message.at;
    Object.assign(map, { paths: [], elites: [], course: [] });
    say("Press Plan, and watch how the robot would get there.");
    redraw();
  },
  episode(message) {
    shown = message.index;
    chosen = null;
    find("episode").value = message.index;
    const held = world.held_out.includes(message.index);
    find("episode-kind").textContent = held ? "held out: the model has never seen it" : "the model was trained on it";
    find("strip").replaceChildren(...message.frames.map((address, place) => {
      const button = document.createElement("button"), image = new Image(), number = document.createElement("span");
      image.src = address;
      image.alt = `Frame ${message.numbers[place]}`;
      number.textContent = message.numbers[place];
      button.setAttribute("aria-pressed", "false");
      button.append(image, number);
      button.addEventListener("click", () => choose(button, message.numbers[place]));
      return button;
    }));
    find("strip").scrollLeft = 0;
    choose(null, null);
  },
  round(message) {
    Object.assign(map, { paths: message.paths, elites: message.elites, course: [] });
    say(`Searching, round ${message.number} of ${message.rounds}: best plan costs ${message.best.toFixed(2)}, the mean ${message.mean.toFixed(2)}`);
    pictures("ends", message.ends, "Where one of the elites would end");
    find("ends-part").hidden = false;
    find("future-part").hidden = true;
  },
  plan(message) {
    Object.assign(map, { paths: [], elites: [], course: message.path });
    say(`Chosen: a plan that costs ${message.cost.toFixed(2)}`);
    pictures("future", message.frames, "A frame of the chosen future");
    find("happened").replaceChildren();
    find("ends-part").hidden = true;
    find("future-part").hidden = false;
  },
  did(message) {
    map.course = message.path;
    say(`Doing it, frame ${message.number}`);
    if (message.number <= find("future").children.length) picture("happened", message.frame, "What then happened");
  },
  outcome(message) {
    map.course = [];
    const after = `after ${message.frames} frames`;
    if (message.at_goal === null) say(`Done ${after}: the goal is ${percent(message.to_goal)} as far away as an unrelated frame`);
    else if (message.at_goal) say(`At the goal ${after}: ${length(message.distance)} away`, "good");
    else say(`Missed the goal ${after}: ${length(message.distance)} away, within ${length(world.tolerance)} counts`, "bad");
  },
  note: (message) => note(message.text),
};

const percent = (value) => (value > 10 ? "over 1000 %" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`);
const length = (value) => (world.unit === "m" ? `${(100 * value).toFixed(1)} cm` : `${value.toPrecision(2)} ${world.unit}`);
const press = (id, on) => find(id).setAttribute("aria-pressed", String(Boolean(on)));
function say(text, mood = "") {
  find("planning").textContent = text;
  find("planning").className = mood || "quiet";
}
function picture(id, address, alt) {
  const image = new Image();
  Object.assign(image, { src: address, alt });
  find(id).append(image);
}
function pictures(id, addresses, alt) {
  find(id).replaceChildren();
  for (const address of addresses) picture(id, address, alt);
}
// Draw once for however many messages came since the last picture on the screen.
function redraw() {
  if (!drawing) drawing = requestAnimationFrame(draw);
}
function draw() {
  drawing = 0;
  if (!frame) return;
  const seconds = (frames) => `${(frames * world.seconds_per_frame).toFixed(1)} s`;
  const parted = frame.parted !== null;
  find("verdict").textContent = parted ? `Parted after ${seconds(frame.parted)}` : "Together";
  find("verdict").parentElement.classList.toggle("parted", parted);
  find("apart").textContent = `${percent(frame.apart)} apart after ${seconds(frame.since)}; 100 % is two unrelated frames`;
  drawApart(find("chart"), apart, world.motion, frame.parted, world.seconds_per_frame);
  drawMap(find("map"), map);
  if (!find("difference-view").hidden) drawDifference(find("difference"), find("real"), find("dream"));
}
new ResizeObserver(redraw).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// ---- the buttons

const steering = makeSteering(send, find);
const painter = makePainter(find, (pixels) => send({ type: "drawn-goal", pixels }));
const click = (id, action) => find(id).addEventListener("click", action);

click("pause", () => send({ type: "pause", paused: !frame?.paused }));
click("step", () => send({ type: "step" }));
click("look", () => send({ type: "look" }));
click("begin", () => send({ type: "begin" }));
click("wander", () => send({ type: "wander", on: frame?.doing !== "wandering" }));
click("difference-button", () => {
  find("difference-view").hidden = !find("difference-view").hidden;
  press("difference-button", !find("difference-view").hidden);
  redraw();
});
click("plan", () => send({ type: "plan" }));
click("stop", () => send({ type: "stop" }));
click("begin-at", () => send({ type: "begin-at", episode: shown, frame: chosen }));
click("recorded-goal", () => send({ type: "recorded-goal", episode: shown, frame: chosen }));
click("draw", () => painter.open(find("real"), () => find("strip").querySelector("[aria-pressed=true] img")));
click("earlier", () => showEpisode(shown - 1));
click("later", () => showEpisode(shown + 1));
find("episode").addEventListener("change", (event) => showEpisode(Number(event.target.value)));

function showEpisode(number) {
  if (world && Number.isInteger(number) && number >= 0 && number < world.whole_frames.length) send({ type: "show-episode", episode: number });
}
function choose(button, number) {
  chosen = number;
  for (const other of find("strip").children) other.setAttribute("aria-pressed", String(other === button));
  for (const id of ["begin-at", "recorded-goal"]) find(id).disabled = number === null;
}

const SHORTCUTS = { " ": "pause", ".": "step", l: "look", n: "begin", w: "wander", d: "difference-button", s: "begin-at", g: "recorded-goal", p: "plan", Escape: "stop" };
addEventListener("keydown", (event) => {
  const id = SHORTCUTS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const typing = event.target.matches?.("input, select") || event.target.closest?.("dialog");
  if (!id || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === " " && event.target.matches?.("button, summary")) return;
  event.preventDefault();
  if (!find(id).disabled) find(id).click();
});

// What the mouse has used does not keep the keyboard: space pauses and arrows steer, whatever was clicked last.
addEventListener("click", (event) => event.detail && event.target.closest?.("button")?.blur());
addEventListener("pointerup", (event) => event.target.matches?.("input[type=range]") && event.target.blur());

const FACTORS = ["light", "hue", "friction"];
const NUMBERS = ["frames_per_second", "look_every", "horizon", "samples"];
const UNITS = {
  frames_per_second: (v) => `${v} frames/s${world ? `, ${(v * world.seconds_per_frame).toFixed(1)} × real time` : ""}`,
  look_every: (v) => (v === 0 ? "never" : v === 1 ? "1 frame" : `${v} frames`),
  horizon: (v) => `${v} frames`,
  samples: (v) => `${v}`,
  light: (v) => `× ${v}`,
  hue: (v) => (v % 360 ? `turned ${v}°` : "as it was"),
  friction: (v) => `× ${v}`,
};
function tellSettings() {
  for (const [name, tell] of Object.entries(UNITS)) find(name).parentElement.querySelector("output").textContent = tell(Number(find(name).value));
}
function sendSettings() {
  tellSettings();
  const values = Object.fromEntries(NUMBERS.map((name) => [name, Number(find(name).value)]));
  const factors = Object.fromEntries(FACTORS.map((name) => [name, Number(find(name).value)]));
  send({ type: "settings", ...values, replan: find("replan").checked, factors });
}
let settingsTimer = 0;
find("settings").addEventListener("input", () => {
  tellSettings();
  clearTimeout(settingsTimer);
  settingsTimer = setTimeout(sendSettings, 80);
});
click("defaults", () => {
  for (const [name, value] of [["light", 1], ["hue", 0], ["friction", 1]]) find(name).value = value;
  sendSettings();
});

connect();
