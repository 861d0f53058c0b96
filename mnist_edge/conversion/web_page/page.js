// The page: reads drawings and pictures with the classifier of `load`, and shows what it answers.
const $ = id => document.getElementById(id);
const LAST = 21, COPIES = 16, NETWORK_MS = 3, QUIET_MS = 500, MANY = 20, LARGEST = 16e6;
const DRAWS = document.querySelector("main").dataset.draws === "true";
const START = DRAWS ? "Nothing drawn yet." : "No picture yet.";
const percent = value => (100 * value).toFixed(1) + "%";
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];
const times = { network: [], reading: [], size: "" };
const pad = drawingPad($("pad"), false, isDrawing => schedule(isDrawing));
const frame = document.createElement("canvas"), pixels = frame.getContext("2d", { willReadFrequently: true });
let classifier = null, isScheduled = false, chosen = null, pending = "", timer = 0;

// Read the drawing with the next frame of the screen; several changes before it are one reading.
function schedule(isDrawing) {
  if (isScheduled || !classifier) return;
  isScheduled = true;
  const go = () => { isScheduled = false; readDrawing(); };
  isDrawing ? requestAnimationFrame(go) : setTimeout(go, 0);
}
function readDrawing() {
  chosen = null;
  stopCamera();
  if (!pad.strokes.length) return clearAnswer(START);
  const copy = pad.copy();
  read(copy.getContext("2d").getImageData(0, 0, copy.width, copy.height), text => announce(text));
}
async function takePicture(file) {
  if (!file || !classifier) return;
  stopCamera();
  chosen = file;
  trouble("");
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch { }
  if (chosen !== file) return;
  if (!bitmap) {
    pad.show(null);
    clearAnswer(START);
    return trouble(file.name + " is no picture that this browser can read. Give a whole PNG or JPEG file.");
  }
  const scale = Math.min(1, Math.sqrt(LARGEST / (bitmap.width * bitmap.height)));
  frame.width = Math.max(1, Math.round(bitmap.width * scale));
  frame.height = Math.max(1, Math.round(bitmap.height * scale));
  pixels.drawImage(bitmap, 0, 0, frame.width, frame.height);
  pad.show(bitmap);
  $("words").textContent = "Reading…";
  await new Promise(go => setTimeout(go, 0));
  if (chosen !== file) return;
  const reading = read(pixels.getImageData(0, 0, frame.width, frame.height), text => announce(text));
  pad.boxes = boxesOf(reading, scale);
  pad.draw();
}
// The box of the digit, in pixels of the picture that is shown; a model for whole pictures has no box.
function boxesOf(reading, scale) { return DRAWS && reading?.box ? [reading.box.map(value => value / scale)] : []; }
// Read pixels, show the answer, and return the reading; null if the module failed.
function read(picture, tell) {
  try {
    const start = performance.now(), reading = classifier.read(picture);
    const size = picture.width + " x " + picture.height;
    if (size !== times.size) Object.assign(times, { reading: [], size });
    keep(times.reading, performance.now() - start);
    showReading(reading, tell);
    return reading;
  } catch (error) {
    clearAnswer("No answer.");
    trouble("The module failed: " + sentence(error) + " Load the page again, or give a smaller picture.");
    return null;
  }
}
function showReading(reading, tell) {
  const prediction = reading.found ? reading.prediction : null, label = prediction?.label ?? null;
  $("label").textContent = label ?? "–";
  $("label").className = (label ?? "").length > 4 ? "long" : "";
  const text = label === null ? "No answer: " + reading.reason + "." : label + " (" + percent(prediction.confidence) + ")";
  $("words").textContent = text;
  tell(text, label ?? text);
  showInput(reading.input);
  bars(prediction?.probabilities);
  if (prediction) timeNetwork(reading.input, prediction.latencyMs);
  showTimes();
}
function clearAnswer(words) {
  $("label").textContent = "–";
  $("label").className = "";
  $("words").textContent = words;
  announce("");
  showInput(null);
  bars(null);
}
// Tell a screen reader an answer that has been the same for a moment.
function announce(text) {
  if (text === pending) return;
  pending = text;
  clearTimeout(timer);
  timer = setTimeout(() => { $("answer-text").textContent = text; }, QUIET_MS);
}
function bars(probabilities) {
  const names = classifier.labels, order = names.map((_, at) => at), isMany = names.length > MANY;
  if (isMany && probabilities) order.sort((a, b) => probabilities[b] - probabilities[a]);
  showBars($("bars"), order.map(at => names[at]), probabilities && order.map(at => probabilities[at]), percent);
}
function showInput(input) {
  const [height, width, channels] = classifier.shape, seen = $("seen"), image = new ImageData(width, height);
  seen.width = width;
  seen.height = height;
  if (!input) return;
  for (let at = 0; at < width * height; at++) {
    for (let part = 0; part < 3; part++) image.data[4 * at + part] = input[channels * at + (channels === 3 ? part : 0)];
    image.data[4 * at + 3] = 255;
  }
  seen.getContext("2d").putImageData(image, 0, 0);
}
// Time the network alone. A browser's clock has steps of up to 1 ms, so a fast one answers the input many times.
function timeNetwork(input, latency) {
  if (latency >= NETWORK_MS) return keep(times.network, latency);
  const images = new Uint8Array(COPIES * input.length), start = performance.now();
  for (let at = 0; at < COPIES; at++) images.set(input, at * input.length);
  let count = 0, passed = 0;
  while (passed < NETWORK_MS) {
    classifier.outputs(images);
    count += COPIES;
    passed = performance.now() - start;
  }
  keep(times.network, passed / count);
}
function keep(values, value) {
  values.push(value);
  if (values.length > LAST) values.shift();
}
function showTimes() {
  const network = times.network.length ? "The network takes " + milliseconds(median(times.network)) + " for an image. " : "";
  const count = times.reading.length, of = count > 1 ? "the median of the last " + count + " readings" : "one reading";
  const whole = "From the " + times.size + " pixels to the probabilities: " + milliseconds(median(times.reading));
  $("time").textContent = network + whole + " (" + of + ", on this device)." + cameraRate();
}
const milliseconds = value => (value < .1 ? value.toFixed(3) : value < 10 ? value.toFixed(2) : value.toFixed(0)) + " ms";
const sentence = error => error.message.replace(/\.?$/, ".");
function trouble(text) { $("trouble").textContent = text; }
function showFacts() {
  const facts = {
    Model: classifier.name, "SHA-256": classifier.sha256.slice(0, 12), "mnist-edge": classifier.version,
    WebAssembly: classifier.simd ? "with SIMD" : "without SIMD", Size: Math.round(classifier.sizeBytes / 1000) + " kB",
  };
  $("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const row = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    return row;
  }));
}
// Load the module and compare it with the golden set. The controls stay disabled unless all answers are equal.
async function start() {
  const verified = $("verified");
  verified.className = "";
  verified.textContent = "Verifying…";
  try {
    const loaded = await load(location.hash === "#fallback" ? { simd: false } : {}), test = loaded.selfTest();
    if (!test.passed) throw new Error(test.differing + " of " + test.images + " answers differ from the golden set's");
    verified.textContent = "Verified on " + test.images + " images: " + test.differing + " differ.";
    verified.className = "good";
    classifier = loaded;
  } catch (error) {
    verified.textContent = "Verification failed, so the page does not answer: " + sentence(error);
    verified.className = "bad";
    return;
  }
  showFacts();
  pad.draws = DRAWS;
  $("answers").hidden = false;
  for (const control of document.querySelectorAll("[disabled]")) control.disabled = false;
  $("bars").classList.toggle("many", classifier.labels.length > MANY);
  if (classifier.labels.length > MANY) $("bars").tabIndex = 0;
  clearAnswer(START);
  globalThis.mnistEdge = { classifier, load }; // for the browser's console
}
$("undo").onclick = pad.undo;
$("clear").onclick = () => { stopCamera(); trouble(""); pad.clear(); };
$("camera").onclick = () => isCameraOn() ? $("clear").click() : startCamera();
$("file").onchange = event => { takePicture(event.target.files[0]); event.target.value = ""; };
takePictures(takePicture);
addEventListener("hashchange", () => location.reload());
start();
