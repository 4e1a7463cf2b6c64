/** Encoder and decoder in ONNX Runtime Web, beside the page, so that the page stays quick while it computes. */

import * as ort from "onnxruntime-web/wasm";

export interface Load {
  id: number;
  what: "load";
  wasm: ArrayBuffer | null;
  run: number;
  encoder: ArrayBuffer;
  decoder: ArrayBuffer;
  /** What black and white are; null for what is no image. */
  pixels: [number, number] | null;
}

export interface Work {
  id: number;
  what: "encode" | "decode";
  run: number;
  data: Float32Array;
  shape: number[];
  /** The class of all of them, where the model takes one. */
  label: number | null;
}

interface Loaded {
  encoder: ort.InferenceSession;
  decoder: ort.InferenceSession;
  pixels: [number, number] | null;
}

const runs = new Map<number, Promise<Loaded>>();

async function load(given: Load): Promise<Loaded> {
  if (given.wasm) {
    ort.env.wasm.numThreads = 1; // more need headers that only a web server can send
    ort.env.wasm.wasmBinary = given.wasm;
  }
  const open = (bytes: ArrayBuffer) => ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  const decoder = await open(given.decoder);
  return { decoder, encoder: await open(given.encoder), pixels: given.pixels };
}

async function work({ what, run, data, shape, label }: Work): Promise<{ data: Float32Array | Uint8Array; shape: number[] }> {
  const { encoder, decoder, pixels } = await runs.get(run)!;
  const session = what === "encode" ? encoder : decoder;
  const output = what === "encode" ? "code" : "x";
  const given: Record<string, ort.Tensor> = { [session.inputNames[0]]: new ort.Tensor("float32", data, shape) };
  if (label !== null && session.inputNames.includes("y")) given["y"] = new ort.Tensor("int64", new BigInt64Array(shape[0]).fill(BigInt(label)), [shape[0]]);
  const answer = await session.run(given, [output]);
  const values = answer[output].data as Float32Array;
  const made = what === "decode" && pixels ? bytes(values, pixels) : values.slice();
  return { data: made, shape: [...answer[output].dims] };
}

function bytes(values: Float32Array, [low, high]: [number, number]): Uint8Array {
  const made = new Uint8ClampedArray(values.length); // rounds, and keeps to 0 to 255
  const factor = 255 / (high - low);
  for (let i = 0; i < values.length; i++) made[i] = (values[i] - low) * factor;
  return new Uint8Array(made.buffer);
}

self.onmessage = async ({ data: given }: MessageEvent<Load | Work>) => {
  try {
    if (given.what === "load") {
      const loaded = load(given);
      runs.set(given.run, loaded);
      await loaded;
      self.postMessage({ id: given.id });
    } else {
      const made = await work(given);
      self.postMessage({ id: given.id, made }, { transfer: [made.data.buffer] });
    }
  } catch (error) {
    self.postMessage({ id: given.id, error: error instanceof Error ? error.message : String(error) });
  }
};
