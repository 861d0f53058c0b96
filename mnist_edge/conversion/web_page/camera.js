// The camera: the newest frame is read when the last reading is done, so that frames are dropped and never queued.
const REMEDIES = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it in the settings of this page, at the left of the address, and press Camera again.",
  NotFoundError: "The browser found no camera. Connect one and press Camera again.",
  NotReadableError: "The camera cannot be opened; another program may use it. Close that program and press Camera again.",
};
const NO_CAMERA = "This browser gives a page at this address no camera. Open the file in another browser, or serve it: python3 -m http.server, then open it at http://localhost:8000. A phone can take a photograph with Picture.";
const video = document.createElement("video");
let stream = null, isStarting = false, frames = [];

const isCameraOn = () => stream !== null || isStarting;

async function startCamera() {
  trouble("");
  if (!navigator.mediaDevices?.getUserMedia) return trouble(NO_CAMERA);
  isStarting = true;
  showButton(true);
  let opened = null;
  try {
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", ...size }, audio: false });
    if (!isStarting) return close(opened); // stopped while the browser asked
    stream = opened;
    video.srcObject = stream;
    for (const track of stream.getTracks()) track.onended = () => { $("clear").click(); trouble("The camera was disconnected."); };
    await video.play();
  } catch (error) {
    if (opened && opened !== stream) return;
    stopCamera();
    return trouble(REMEDIES[error.name] ?? "The camera failed (" + error.name + "). Press Camera again, or choose a picture.");
  } finally {
    isStarting = false;
  }
  chosen = null;
  pad.draws = false;
  pad.show(null);
  frames = [];
  nextFrame(stream);
}
function stopCamera() {
  if (!isCameraOn()) return;
  if (stream) close(stream);
  stream = video.srcObject = null;
  isStarting = false;
  pad.draws = DRAWS;
  showButton(false);
  pad.show(null);
}
function close(opened) { for (const track of opened.getTracks()) track.stop(); }
function showButton(isOn) {
  $("camera").textContent = isOn ? "Stop" : "Camera";
  $("camera").setAttribute("aria-label", isOn ? "Stop the camera" : "Camera");
  $("camera").classList.toggle("on", isOn);
}
function nextFrame(opened) {
  const go = () => readFrame(opened);
  video.requestVideoFrameCallback ? video.requestVideoFrameCallback(go) : requestAnimationFrame(go);
}
function readFrame(opened) {
  if (stream !== opened) return; // stopped, and perhaps started again
  const start = performance.now();
  if (video.videoWidth) {
    frame.width = video.videoWidth;
    frame.height = video.videoHeight;
    pixels.drawImage(video, 0, 0);
    keep(frames, start);
    const reading = read(pixels.getImageData(0, 0, frame.width, frame.height), (_, short) => announce(short));
    pad.picture = frame;
    pad.boxes = boxesOf(reading, 1);
    pad.draw();
    if (!reading) return stopCamera();
  }
  setTimeout(() => nextFrame(opened), performance.now() - start); // as long as a reading took, so that the page answers the user
}
// What the camera gives, for the line with the times.
function cameraRate() {
  if (!stream || frames.length < 2) return "";
  const each = (frames[frames.length - 1] - frames[0]) / (frames.length - 1);
  return " Camera: " + frame.width + " x " + frame.height + ", " + (1000 / each).toFixed(0) + " frames a second are read.";
}
video.muted = video.playsInline = true;
video.setAttribute("aria-hidden", "true");
document.body.append(video);
addEventListener("pagehide", stopCamera);
