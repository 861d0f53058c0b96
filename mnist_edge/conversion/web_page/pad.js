// A square to draw on with mouse, finger or pen. It shows the strokes, or a picture, and boxes in the pixels of what is
// read: the picture, or a copy of the drawing. `changed(isDrawing)` is called after each change by the user.
function drawingPad(canvas, draws, changed) {
  const pen = canvas.getContext("2d"), COPY = 280;
  const pad = { strokes: [], picture: null, boxes: [], draw, copy, clear, undo, show };
  let current = null;

  function resize() {
    canvas.width = canvas.height = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    draw();
  }
  function draw() {
    const side = canvas.width, style = getComputedStyle(document.body);
    const width = pad.picture?.width ?? COPY, height = pad.picture?.height ?? COPY, fit = side / Math.max(width, height);
    const left = (side - width * fit) / 2, top = (side - height * fit) / 2;
    pen.fillStyle = style.getPropertyValue("--paper");
    pen.fillRect(0, 0, side, side);
    if (pad.picture) pen.drawImage(pad.picture, left, top, width * fit, height * fit);
    paint(pen, side, style.getPropertyValue("--ink"));
    const line = Math.max(2, side / 160);
    for (const [x, y, w, h] of pad.boxes) {
      for (const [colour, wide] of [["#000", 2 * line], ["#5cf", line]]) { // visible on any picture
        pen.strokeStyle = colour;
        pen.lineWidth = wide;
        pen.strokeRect(left + x * fit, top + y * fit, w * fit, h * fit);
      }
    }
  }
  function paint(to, side, colour) {
    to.strokeStyle = to.fillStyle = colour;
    to.lineWidth = side / 14;
    to.lineCap = to.lineJoin = "round";
    for (const stroke of pad.strokes) {
      to.beginPath();
      stroke.forEach(([x, y], at) => at ? to.lineTo(x * side, y * side) : to.moveTo(x * side, y * side));
      if (stroke.length === 1) to.lineTo(stroke[0][0] * side + .01, stroke[0][1] * side);
      to.stroke();
    }
  }
  // The drawing in black on white, as a canvas.
  function copy() {
    const made = document.createElement("canvas"), to = made.getContext("2d", { willReadFrequently: true });
    made.width = made.height = COPY;
    to.fillStyle = "#fff";
    to.fillRect(0, 0, COPY, COPY);
    paint(to, COPY, "#000");
    return made;
  }
  function show(picture) { Object.assign(pad, { strokes: [], picture, boxes: [] }); draw(); }
  function clear() { show(null); changed(false); }
  function undo() {
    if (pad.picture) return clear();
    pad.strokes.pop();
    pad.boxes = [];
    draw();
    changed(false);
  }
  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
  function begin(event) {
    if (event.button || !pad.draws) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    if (pad.picture) show(null);
    pad.boxes = [];
    pad.strokes.push(current = [place(event)]);
    draw();
  }
  function move(event) {
    if (!current) return;
    for (const one of event.getCoalescedEvents?.() || [event]) current.push(place(one));
    draw();
    changed(true);
  }
  function end() {
    if (!current) return;
    current = null;
    changed(false);
  }
  pad.draws = draws;
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, end);
  canvas.addEventListener("keydown", event => {
    if (event.key === "Escape" || event.key === "Delete") clear();
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
  });
  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  resize();
  return pad;
}

// Call `take` with the picture that the user pastes, or drops anywhere on the page.
function takePictures(take) {
  const first = files => [...files].find(file => file.type.startsWith("image/")) ?? files[0];
  document.addEventListener("paste", event => { if (event.clipboardData.files.length) take(first(event.clipboardData.files)); });
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(first(event.dataTransfer.files));
  });
}

// Show probabilities as bars: a row for each class, in which `percent` writes the number; null for no answer.
function showBars(list, names, probabilities, percent) {
  if (list.children.length !== names.length) {
    list.replaceChildren(...names.map(() => {
      const row = document.createElement("li");
      row.innerHTML = "<span></span><span class=track><span class=fill></span></span><span></span>";
      return row;
    }));
  }
  names.forEach((name, at) => {
    const row = list.children[at], value = probabilities?.[at];
    row.firstChild.textContent = name;
    row.querySelector(".fill").style.width = 100 * (value ?? 0) + "%";
    row.lastChild.textContent = value === undefined ? "" : percent(value);
  });
}
