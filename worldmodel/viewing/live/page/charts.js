// The two drawings: how far apart the worlds are over time, and the map of latents with the plans on it.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A canvas as sharp as the screen, in CSS pixels.
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const dense = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  return { pen, width, height };
}

const MOST = 4; // what is farther apart is drawn at the edge

// values: how far apart at each frame since the last look; a gap where none came. motion: a frame's own movement.
export function drawApart(canvas, values, motion, parted, seconds) {
  const { pen, width, height } = prepare(canvas);
  const left = 46, bottom = 18, top = 6, right = 6;
  const most = Math.min(MOST, Math.max(1, ...values.filter((value) => value !== undefined)));
  const length = Math.max(30, values.length - 1);
  const x = (frame) => left + (frame / length) * (width - left - right);
  const y = (value) => height - bottom - Math.sqrt(Math.min(value, most) / most) * (height - bottom - top);
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const [value, text] of [[0, "0 %"], [0.25, "25 %"], [1, "100 %"]]) {
    pen.strokeStyle = colour("line");
    line(pen, [[left, y(value)], [width - right, y(value)]]);
    pen.fillStyle = colour("quiet");
    pen.fillText(text, left - 6, y(value));
  }
  pen.setLineDash([4, 4]);
  pen.strokeStyle = colour("quiet");
  line(pen, [[left, y(motion)], [width - right, y(motion)]]);
  pen.setLineDash([]);
  pen.textBaseline = "bottom";
  pen.fillText("one frame’s motion", width - right, y(motion) - 2);
  if (parted !== null) {
    pen.strokeStyle = colour("dream");
    line(pen, [[x(parted), top], [x(parted), height - bottom]]);
    pen.fillStyle = colour("dream");
    pen.textBaseline = "top";
    const nearRight = x(parted) > width - 60;
    pen.textAlign = nearRight ? "right" : "left";
    pen.fillText("parted", x(parted) + (nearRight ? -4 : 4), top);
  }
  pen.strokeStyle = colour("dream");
  pen.lineWidth = 2;
  line(pen, values.map((value, frame) => [x(frame), y(value)]).filter((_, frame) => values[frame] !== undefined));
  pen.fillStyle = colour("quiet");
  pen.textBaseline = "bottom";
  pen.textAlign = "right";
  pen.fillText(`${(length * seconds).toFixed(1)} s since the last look`, width - right, height);
}

export function drawMap(canvas, { cloud, trail, at, dreamt, goal, paths, elites, course }) {
  const { pen, width, height } = prepare(canvas);
  if (!cloud.length) return;
  const { left, right, low, high } = bounds(cloud, [at, dreamt, goal].filter(Boolean));
  const scale = Math.min((width - 24) / (right - left || 1), (height - 24) / (high - low || 1));
  const place = ([x, y]) => [width / 2 + (x - (left + right) / 2) * scale, height / 2 - (y - (low + high) / 2) * scale];
  pen.fillStyle = colour("cloud");
  for (const point of cloud) dot(pen, place(point), 2);
  pen.lineJoin = "round";
  pen.lineWidth = 1;
  pen.globalAlpha = 0.55;
  pen.strokeStyle = colour("tried");
  for (const path of paths) line(pen, [at, ...path].map(place));
  pen.globalAlpha = 0.8;
  pen.strokeStyle = colour("goal");
  for (const path of elites) line(pen, [at, ...path].map(place));
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.strokeStyle = colour("real");
  pen.globalAlpha = 0.5;
  line(pen, trail.map(place));
  pen.globalAlpha = 1;
  if (course.length) {
    pen.strokeStyle = colour("dream");
    pen.lineWidth = 3;
    line(pen, [at, ...course].map(place));
  }
  if (goal) {
    const [x, y] = place(goal);
    pen.fillStyle = colour("goal");
    pen.save();
    pen.translate(x, y);
    pen.rotate(Math.PI / 4);
    pen.fillRect(-6, -6, 12, 12);
    pen.restore();
  }
  if (dreamt) {
    pen.strokeStyle = colour("dream");
    pen.lineWidth = 1.5;
    line(pen, [place(at), place(dreamt)]);
    pen.fillStyle = colour("dream");
    dot(pen, place(dreamt), 6);
  }
  if (at) {
    pen.fillStyle = colour("real");
    dot(pen, place(at), 6);
  }
}

// Where the bulk of the cloud lies, a few far frames left out, and all of what must be seen.
function bounds(cloud, musts) {
  const edge = (axis, share) => {
    const sorted = cloud.map((point) => point[axis]).sort((a, b) => a - b);
    return sorted[Math.round(share * (sorted.length - 1))];
  };
  return {
    left: Math.min(edge(0, 0.05), ...musts.map((p) => p[0])),
    right: Math.max(edge(0, 0.95), ...musts.map((p) => p[0])),
    low: Math.min(edge(1, 0.05), ...musts.map((p) => p[1])),
    high: Math.max(edge(1, 0.95), ...musts.map((p) => p[1])),
  };
}

export function drawDifference(canvas, one, other) {
  if (!one.naturalWidth || !other.naturalWidth) return;
  canvas.width = one.naturalWidth;
  canvas.height = one.naturalHeight;
  const pen = canvas.getContext("2d");
  pen.globalCompositeOperation = "source-over";
  pen.drawImage(one, 0, 0);
  pen.globalCompositeOperation = "difference";
  pen.drawImage(other, 0, 0);
}

function line(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

function dot(pen, [x, y], radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}
