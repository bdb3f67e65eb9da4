// Draw a goal on a canvas of the camera's own size, in the colours of what is seen.

export function makePainter(find, use) {
  const dialog = find("painter"), paper = find("paper"), palette = find("palette");
  const pen = paper.getContext("2d", { willReadFrequently: true });
  let colour = "#000000", last = null;

  function from(image) {
    if (!image?.naturalWidth) return;
    paper.width = image.naturalWidth;
    paper.height = image.naturalHeight;
    pen.drawImage(image, 0, 0);
    offer(commonColours());
  }
  // The most frequent colours that differ well from one another.
  function commonColours() {
    const data = pen.getImageData(0, 0, paper.width, paper.height).data, counts = new Map();
    for (let i = 0; i < data.length; i += 4) {
      const key = [0, 1, 2].map((c) => data[i + c] >> 4).join();
      const entry = counts.get(key) ?? { count: 0, rgb: [data[i], data[i + 1], data[i + 2]] };
      entry.count++;
      counts.set(key, entry);
    }
    const chosen = [];
    for (const { rgb } of [...counts.values()].sort((a, b) => b.count - a.count)) {
      if (chosen.every((other) => Math.hypot(...rgb.map((value, c) => value - other[c])) > 50)) chosen.push(rgb);
      if (chosen.length === 6) break;
    }
    return chosen.map((rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`);
  }
  function offer(colours) {
    palette.replaceChildren(...colours.map((value) => {
      const button = document.createElement("button");
      button.style.background = value;
      button.setAttribute("aria-label", `Colour ${value}`);
      button.addEventListener("click", () => pick(value));
      button.dataset.colour = value;
      return button;
    }));
    pick(colours[Math.min(1, colours.length - 1)]);
  }
  function pick(value) {
    colour = value;
    for (const button of palette.children) button.setAttribute("aria-pressed", button.dataset.colour === value);
  }

  paper.addEventListener("pointerdown", (event) => {
    paper.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  paper.addEventListener("pointermove", (event) => paper.hasPointerCapture(event.pointerId) && stroke(event));
  function stroke(event) {
    const box = paper.getBoundingClientRect();
    const at = [((event.clientX - box.left) / box.width) * paper.width, ((event.clientY - box.top) / box.height) * paper.height];
    pen.strokeStyle = colour;
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = (Number(find("brush").value) * paper.width) / 64;
    pen.beginPath();
    pen.moveTo(...(last ?? at));
    pen.lineTo(at[0] + 0.01, at[1]);
    pen.stroke();
    last = at;
  }

  find("close-painter").addEventListener("click", () => dialog.close());
  find("use-drawing").addEventListener("click", () => {
    const data = pen.getImageData(0, 0, paper.width, paper.height).data;
    let bytes = "";
    for (let i = 0; i < data.length; i += 4) bytes += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
    use(btoa(bytes));
    dialog.close();
  });
  return {
    open(present, chosen) {
      find("from-present").onclick = () => from(present);
      find("from-chosen").onclick = () => from(chosen());
      find("from-chosen").disabled = !chosen();
      from(present);
      dialog.showModal();
    },
  };
}
