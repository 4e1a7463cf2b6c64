/** A file of the person's own: an image, or a .npy array, made into an example that the model can read. */

import type { App } from "./app";
import { h, say, short } from "./dom";
import { parseNpy, type NdArray } from "./npy";
import { rowOf } from "./picture";
import { Trouble, valuesOf, type State } from "./run";

const MOST = 50_000_000; // bytes of a file

export async function openOwn(app: App, file: File, invert = false): Promise<void> {
  await app.attempt(async () => {
    if (file.size > MOST) throw new Trouble(`${file.name} has ${Math.round(file.size / 1e6)} MB, and at most 50 MB are read here.`);
    const { run } = app.main;
    const { state } = run;
    const { array, notes } = /\.npy$/i.test(file.name) ? await fromNpy(file, state) : await fromImage(file, state, invert);
    const code = await run.encode(array);
    const made = await run.decode(code, 1);
    const error = squaredError(state, array, made);
    notes.push(`Squared error of a value: ${short(error)}${await rank(app, error)}.`);
    const score = await run.score(array);
    if (score) {
      const verdict = score.unusual === null ? "" : score.unusual ? ", over the run's threshold: unusual" : ", under the run's threshold: usual";
      notes.push(`Anomaly score (${score.what}, nats): ${short(score.value, 4)}${verdict}.`);
    }
    const values = rowOf(state, array, 0);
    app.setPin({ view: app.main, start: code.slice(), code: code.slice(), id: null, own: { values, name: file.name, notes }, title: file.name, strengths: new Map() });
    app.show("pin");
    if (state.display.kind === "image") offer(app, file, !invert);
    say(`${file.name} is pinned. ${notes.join(" ")}`);
  });
}

/** Numerals that are dark on light are another thing to a model that learned light on dark. */
function offer(app: App, file: File, invert: boolean): void {
  const again = h("button", { type: "button", onclick: () => void openOwn(app, file, invert) }, invert ? "Invert its brightness" : "As it was");
  document.dispatchEvent(new CustomEvent("diabolo:own", { detail: again }));
}

async function fromNpy(file: File, state: State): Promise<{ array: NdArray; notes: string[] }> {
  let found: NdArray;
  try {
    found = parseNpy(await file.arrayBuffer());
  } catch (error) {
    throw new Trouble(`${file.name}: ${(error as Error).message}`);
  }
  const size = valuesOf(state);
  const expected = `(${state.event_shape.join(", ")})`;
  const tail = found.shape.slice(-state.event_shape.length);
  if (found.data.length < size || tail.join() !== state.event_shape.join()) {
    throw new Trouble(`${file.name} has the shape (${found.shape.join(", ")}), and this model reads examples of the shape ${expected}.`);
  }
  const rest = found.data.length / size;
  const notes = rest > 1 ? [`The first of the ${rest.toLocaleString("en")} examples in the file.`] : [];
  return { array: { shape: [1, ...state.event_shape], data: found.data.slice(0, size) }, notes };
}

async function fromImage(file: File, state: State, invert: boolean): Promise<{ array: NdArray; notes: string[] }> {
  const { kind, width = 1, height = 1, channels = 1, low, high } = state.display;
  if (kind !== "image") {
    throw new Trouble(`This model reads ${kind === "signal" ? "signals" : "rows of numbers"} of the shape (${state.event_shape.join(", ")}), not images: drop a .npy file of that shape.`);
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Trouble(`${file.name || "That"} is no image that a browser can read. PNG, JPEG, WebP, GIF, BMP and .npy are.`);
  }
  const notes: string[] = [];
  const crop = fitted(bitmap.width, bitmap.height, width / height);
  const cut = crop.width < bitmap.width - 1 || crop.height < bitmap.height - 1;
  if (cut || bitmap.width !== width || bitmap.height !== height) {
    notes.push(`It was ${bitmap.width} × ${bitmap.height} pixels: ${cut ? "its middle was cut out and " : ""}made ${width} × ${height}${channels === 1 ? ", in grey" : ""}.`);
  }
  const pixels = shrink(bitmap, crop, width, height);
  const data = new Float32Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const rgba = [0, 1, 2].map((c) => pixels[4 * i + c] / 255);
    const grey = 0.299 * rgba[0] + 0.587 * rgba[1] + 0.114 * rgba[2];
    for (let c = 0; c < channels; c++) {
      const value = channels === 1 ? grey : (rgba[c] ?? 1);
      data[state.layout === "CHW" ? c * width * height + i : i * channels + c] = low + (invert ? 1 - value : value) * (high - low);
    }
  }
  if (invert) notes.push("Its brightness is inverted.");
  return { array: { shape: [1, ...state.event_shape], data }, notes };
}

/** The middle of an image that has the wanted form. */
function fitted(width: number, height: number, aspect: number): { left: number; top: number; width: number; height: number } {
  const wide = width / height > aspect;
  const [w, h2] = wide ? [height * aspect, height] : [width, width / aspect];
  return { left: (width - w) / 2, top: (height - h2) / 2, width: w, height: h2 };
}

/** Halves it until it is near its size, so that no pixel is passed over; what is transparent is white. */
function shrink(bitmap: ImageBitmap, crop: { left: number; top: number; width: number; height: number }, width: number, height: number): Uint8ClampedArray {
  let [w, h2] = [Math.max(width, Math.round(crop.width)), Math.max(height, Math.round(crop.height))];
  let canvas = h("canvas", { width: w, height: h2 });
  let context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, w, h2);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, crop.left, crop.top, crop.width, crop.height, 0, 0, w, h2);
  while (w > width || h2 > height) {
    const [nextW, nextH] = [Math.max(width, Math.ceil(w / 2)), Math.max(height, Math.ceil(h2 / 2))];
    const next = h("canvas", { width: nextW, height: nextH });
    context = next.getContext("2d", { willReadFrequently: true })!;
    context.imageSmoothingQuality = "high";
    context.drawImage(canvas, 0, 0, nextW, nextH);
    [canvas, w, h2] = [next, nextW, nextH];
  }
  return context.getImageData(0, 0, width, height).data;
}

/** Both may be bytes of pixels or the data's own numbers. */
function squaredError(state: State, x: NdArray, made: NdArray): number {
  const { low, high } = state.display;
  const value = (data: NdArray["data"], i: number, bytes: boolean) => (bytes ? low + (data[i] / 255) * (high - low) : data[i]);
  const image = state.display.kind === "image";
  let sum = 0;
  for (let i = 0; i < x.data.length; i++) {
    sum += (value(x.data, i, image && x.data instanceof Uint8Array) - value(made.data, i, image && made.data instanceof Uint8Array)) ** 2;
  }
  return sum / x.data.length;
}

async function rank(app: App, error: number): Promise<string> {
  if (!app.main.run.state.columns.some(({ name }) => name === "error")) return "";
  const values = await app.load("error");
  let below = 0;
  for (let i = 0; i < values.length; i++) if (values[i] < error) below++;
  return `, larger than ${short((100 * below) / values.length)}% of the data's`;
}
