// Arrow keys, pad, sliders and gamepad: whatever moved last sets the actions, each in [-1, 1] of its actuator's range.

const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] };
const DEAD = 0.15; // of a stick around its middle
const REACH = 62; // how far to drag for the whole action, CSS pixels
const INTERVAL = 33; // between two messages, ms

export function makeSteering(send, find) {
  let names = [], neutral = [], action = [], pair = 0, sent = "", sentAt = 0, waiting = 0;
  let gamepadMoves = 0; // actuators that a gamepad drives just now
  const held = new Set(), drags = new Set(); // keys; pointers
  const pad = find("pad"), knob = find("knob"), noGamepad = find("gamepad").textContent;

  function set(changes) {
    if (!changes.length) return;
    for (const [index, value] of changes) if (index < action.length) action[index] = value;
    show();
    tell();
  }
  // At most one message in INTERVAL, and always the last one.
  function tell() {
    if (waiting) return;
    const wait = Math.max(0, sentAt + INTERVAL - performance.now());
    waiting = setTimeout(() => {
      waiting = 0;
      const text = JSON.stringify(action);
      if (text === sent) return;
      sent = text;
      sentAt = performance.now();
      send({ type: "drive", action: action.map((value) => Math.round(value * 1000) / 1000) });
    }, wait);
  }
  const rest = (axis) => neutral[2 * pair + axis] ?? 0;

  function show() {
    const reach = 0.5 * pad.clientWidth - 30;
    const [x, y] = [0, 1].map((axis) => action[2 * pair + axis] ?? 0);
    const length = Math.max(1, Math.hypot(x, y));
    knob.style.transform = `translate(${(x / length) * reach}px, ${(-y / length) * reach}px)`;
    document.querySelectorAll("#actuators input").forEach((input, index) => {
      if (input !== document.activeElement) input.value = action[index];
    });
  }

  const typing = (target) => target.matches?.("input, select, textarea") || target.closest?.("dialog");
  addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    held.add(event.key);
    fromKeys();
  });
  addEventListener("keyup", (event) => {
    if (held.delete(event.key)) fromKeys();
  });
  addEventListener("blur", letGo);
  document.addEventListener("visibilitychange", () => document.hidden && letGo());

  function fromKeys() {
    const strength = Number(find("strength").value);
    const axes = [rest(0), rest(1)];
    for (const axis of [0, 1]) {
      const sum = [...held].filter((key) => KEYS[key][0] === axis).reduce((total, key) => total + KEYS[key][1], 0);
      if (sum) axes[axis] = sum * strength;
    }
    set([[2 * pair, axes[0]], [2 * pair + 1, axes[1]]]);
  }
  // Whoever holds nothing has nothing to let go of, and must not take the controls from others by leaving the window.
  function letGo() {
    if (held.size || drags.size) release();
  }
  function release() {
    held.clear();
    set([[2 * pair, rest(0)], [2 * pair + 1, rest(1)]]);
  }

  // On the pad a drag counts from its middle, on the pictures from where it began.
  dragOn(pad, () => {
    const box = pad.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  });
  for (const id of ["real", "dream"]) dragOn(find(id), (event) => [event.clientX, event.clientY]);
  function dragOn(surface, origin) {
    let from = null;
    surface.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      surface.setPointerCapture(event.pointerId);
      drags.add(event.pointerId);
      from = origin(event);
      drag(event);
    });
    surface.addEventListener("pointermove", (event) => surface.hasPointerCapture(event.pointerId) && drag(event));
    for (const end of ["pointerup", "pointercancel"]) {
      surface.addEventListener(end, (event) => drags.delete(event.pointerId) && release());
    }
    function drag(event) {
      const at = [(event.clientX - from[0]) / REACH, -(event.clientY - from[1]) / REACH];
      set(at.map((value, axis) => [2 * pair + axis, Math.max(-1, Math.min(1, value))]));
    }
  }

  // Two sticks drive four actuators; who lets go, pulls the plug or looks at another page drives none.
  function pollGamepad() {
    const gamepad = document.hidden ? null : [...(navigator.getGamepads?.() ?? [])].find((each) => each?.connected);
    find("gamepad").textContent = gamepad ? `Gamepad: ${gamepad.id.slice(0, 40)}` : noGamepad;
    const sticks = (gamepad?.axes ?? []).slice(0, 4).map((value, index) => (index % 2 ? -value : value));
    const out = (value) => Math.abs(value) > DEAD;
    const moved = sticks.some(out) ? sticks.length : 0;
    set(Array.from({ length: moved || gamepadMoves }, (_, index) => {
      const place = 2 * pair + index;
      return [place, out(sticks[index]) ? sticks[index] : neutral[place] ?? 0];
    }));
    gamepadMoves = moved;
  }
  addEventListener("gamepadconnected", () => setInterval(pollGamepad, INTERVAL), { once: true });

  find("pair").addEventListener("change", (event) => {
    release();
    pair = Number(event.target.value);
    label();
  });
  function label() {
    const [across, up] = [names[2 * pair] ?? "", names[2 * pair + 1] ?? ""];
    pad.querySelectorAll(".up, .down").forEach((arrow) => (arrow.hidden = !up));
    find("axes").textContent = [across && `← → ${across}`, up && `↑ ↓ ${up}`].filter(Boolean).join(", ");
  }

  return {
    // Learn what there is to steer.
    world(message) {
      [names, neutral, pair] = [message.actuators, message.neutral, 0];
      action = [...neutral];
      sent = JSON.stringify(action);
      const pairs = find("pair");
      pairs.replaceChildren(...Array.from({ length: Math.ceil(names.length / 2) }, (_, index) => {
        return new Option(names.slice(2 * index, 2 * index + 2).join(", "), index);
      }));
      find("pair-field").hidden = names.length <= 2;
      find("actuators").replaceChildren(...(names.length > 2 ? names : []).map((name, index) => {
        const field = document.createElement("label"), input = document.createElement("input");
        Object.assign(input, { type: "range", min: -1, max: 1, step: 0.05, value: neutral[index] });
        input.addEventListener("input", () => set([[index, Number(input.value)]]));
        field.append(name, input);
        return field;
      }));
      label();
      show();
    },
    // Show what someone else, or the planner, does.
    follow(others) {
      if (held.size || gamepadMoves || waiting) return;
      action = [...others];
      sent = JSON.stringify(action);
      show();
    },
  };
}
