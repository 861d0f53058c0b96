// What benchmarks/browser.py runs in Chromium and in Node: libraries behind one interface, and their measurement.
// A contender has: inputs(images), which makes a library's inputs of pixels; run(input), its shortest call for one
// image; isAsync, whether that returns a promise; label(answer), the most probable class.

const SHAPE = [1, 28, 28, 1];
const SIZE = 28 * 28;

/** Splits pixels, Uint8Array, into images. */
export function split(pixels) {
  return Array.from({ length: pixels.length / SIZE }, (_, at) => pixels.slice(at * SIZE, (at + 1) * SIZE));
}

function best(values) {
  return values.indexOf(values.reduce((largest, value) => (value > largest ? value : largest)));
}

/** What each library needs: places are URLs of modules and folders, models are bytes. */
export const CONTENDERS = {
  "mnist-edge": async ({ module }) => {
    const net = await (await import(module)).load();
    return { inputs: (images) => images, run: (image) => net.outputs(image), label: best };
  },
  "mnist-edge, predict": async ({ module }) => {
    const net = await (await import(module)).load();
    return { inputs: (images) => images, run: (image) => net.predict(image), label: (answer) => answer.index };
  },
  "mnist-edge, no SIMD": async ({ module }) => {
    const net = await (await import(module)).load({ simd: false });
    return { inputs: (images) => images, run: (image) => net.outputs(image), label: best };
  },
  "onnxruntime-web": async ({ ort, ortFolder, onnx }) => {
    const library = await import(ort);
    library.env.wasm.numThreads = 1;
    library.env.wasm.wasmPaths = ortFolder;
    const session = await library.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
    const [input] = session.inputNames, [output] = session.outputNames;
    return {
      isAsync: true,
      inputs: (images) => images.map((image) => ({ [input]: new library.Tensor("uint8", image, SHAPE) })),
      run: async (feeds) => (await session.run(feeds))[output].data,
      label: best,
    };
  },
  "LiteRT.js": async ({ litert, litertFolder, tflite }) => {
    const { loadLiteRt, loadAndCompile, Tensor } = await import(litert);
    await loadLiteRt(litertFolder);
    const model = await loadAndCompile(tflite, { accelerator: "wasm" });
    const real = (image) => new Tensor(Float32Array.from(image, (pixel) => pixel / 255), SHAPE);
    return {
      isAsync: true,
      inputs: (images) => images.map(real),
      run: async (tensor) => {
        const [output] = await model.run(tensor);
        const answer = output.toTypedArray();
        output.delete();
        return answer;
      },
      label: best,
    };
  },
};

/** Labels of images, one by one. */
export async function labels(contender, images) {
  const found = [];
  for (const image of images) {
    const [input] = contender.inputs([image]);
    found.push(contender.label(await contender.run(input)));
    input.delete?.();
  }
  return found;
}

/** Milliseconds of a number of calls, with the inputs that follow those of the block before. */
async function block(contender, calls) {
  const { run, taken } = contender;
  const began = performance.now();
  if (contender.isAsync) for (let call = 0; call < calls; call++) await run(taken[contender.next++ % taken.length]);
  else for (let call = 0; call < calls; call++) run(taken[contender.next++ % taken.length]);
  return performance.now() - began;
}

/**
 * Microseconds of one call, a list by contender with one value for each round. In each round every contender has one
 * block of some `least` ms; the order turns by one from round to round. Before that, each one runs for `warmUp` ms.
 */
export async function measure(contenders, images, { rounds, least, warmUp }) {
  const names = Object.keys(contenders), calls = {}, times = {};
  for (const name of names) {
    const contender = Object.assign(contenders[name], { taken: contenders[name].inputs(images), next: 0 });
    times[name] = [];
    calls[name] = 1;
    for (let done = 0, took = 0; done < warmUp; done += took) {
      took = await block(contender, calls[name]);
      if (took < least / 2) calls[name] *= 2;
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      times[name].push((1000 * (await block(contenders[name], calls[name]))) / calls[name]);
    }
    await new Promise((resolve) => setTimeout(resolve)); // lets the page do its other work
  }
  for (const name of names) contenders[name].taken.forEach((input) => input.delete?.());
  return times;
}
