/** Runs inside the page, or in a folder beside it: no server, no Python; the networks run in ONNX Runtime Web. */

import { auc, dot } from "./latent";
import { parseNpy, type NdArray, type Numbers } from "./npy";
import { firstLabel, Trouble, valuesOf, type Concept, type Health, type Lesson, type Run, type Score, type State } from "./run";
import type { Load, Work } from "./worker";

interface About {
  state: State;
  health: Health;
  concepts: Concept[];
  /** Examples in a file. */
  chunk: number;
  /** Codes from the prior for each seed. */
  drawn: number;
  seeds: number;
  /** Whether they are drawn for each class by itself, and of all classes together last. */
  apart: boolean;
}

/** Files of the exported page: elements of it, or scripts in a folder, since a page on a disk may read nothing else. */
class Store {
  #folder: string | null;
  #waiting = new Map<string, (text: string) => void>();

  constructor(folder: string | null) {
    this.#folder = folder;
    (globalThis as unknown as { diaboloFile: (name: string, text: string) => void }).diaboloFile = (name, text) => {
      this.#waiting.get(name)?.(text);
      this.#waiting.delete(name);
    };
  }

  async bytes(name: string): Promise<ArrayBuffer> {
    const text = document.getElementById(`file:${name}`)?.textContent ?? (await this.#fetch(name));
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async json<T>(name: string): Promise<T> {
    return JSON.parse(new TextDecoder().decode(await this.bytes(name))) as T;
  }

  async npy(name: string): Promise<NdArray> {
    return parseNpy(await this.bytes(name));
  }

  #fetch(name: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#folder === null) {
        reject(new Trouble(`This page lacks ${name}: it is damaged. Export it again.`));
        return;
      }
      const script = document.createElement("script");
      script.src = `${this.#folder}/${name}.js`;
      script.onerror = () => reject(new Trouble(`${this.#folder}/${name}.js is not there: keep the page and its folder together, or export them again.`));
      this.#waiting.set(name, (text) => {
        script.remove();
        resolve(text);
      });
      document.head.append(script);
    });
  }
}

/** The worker, as promises. */
class Engine {
  #worker: Worker;
  #count = 0;
  #failed: Trouble | null = null;
  #waiting = new Map<number, { resolve: (made: NdArray) => void; reject: (error: unknown) => void }>();

  constructor(script: string) {
    this.#worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    this.#worker.onmessage = ({ data }: MessageEvent<{ id: number; made: NdArray; error?: string }>) => {
      const one = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error) one?.reject(new Trouble(`The network could not be run in this browser: ${data.error}`));
      else one?.resolve(data.made);
    };
    this.#worker.onerror = (event) => {
      this.#failed = new Trouble(`ONNX Runtime Web does not start in this browser: ${event.message ?? "its worker was refused"}.`);
      for (const { reject } of this.#waiting.values()) reject(this.#failed);
      this.#waiting.clear();
    };
  }

  ask(given: Omit<Load, "id"> | Omit<Work, "id">, transfer: Transferable[] = []): Promise<NdArray> {
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      if (this.#failed) throw this.#failed;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...given, id }, transfer);
    });
  }
}

class LocalRun implements Run {
  readonly state: State;
  readonly limits: string;
  readonly seeds: number;
  label: string | null;
  readonly tokens = null;
  readonly completed = null;
  readonly written = null;
  #store: Store;
  #engine: Engine;
  #index: number;
  #folder: string;
  #about: About;
  #ready: Promise<unknown>;
  #codes: Promise<Float32Array> | null = null;
  #chunks = new Map<number, Promise<NdArray>>();
  #samples: Promise<NdArray> | null = null;
  #named: Promise<string[]> | null = null;

  constructor(store: Store, engine: Engine, index: number, folder: string, about: About, ready: Promise<unknown>) {
    this.#store = store;
    this.#engine = engine;
    this.#index = index;
    this.#folder = folder;
    this.#about = about;
    this.#ready = ready;
    this.state = about.state;
    this.label = firstLabel(about.state);
    this.seeds = Math.max(1, about.seeds);
    this.limits = "This page works by itself, without diabolo. Concepts that you learn here last until it is closed" +
      (about.seeds ? `; the prior has ${about.seeds} seeds, numbered from 0` : "") + "; a picture of yours gets its squared error, and no other score" +
      (about.state.tokens ? "; tokens are shown and changed where diabolo serves the page." : ".");
  }

  codes(): Promise<Float32Array> {
    return (this.#codes ??= this.#store.npy(`${this.#folder}/codes.npy`).then(({ data }) => data as Float32Array));
  }

  async column(name: string): Promise<ArrayLike<number>> {
    const at = this.state.columns.findIndex((column) => column.name === name);
    return (await this.#store.npy(`${this.#folder}/column-${at}.npy`)).data;
  }

  async layout(name: string): Promise<Float32Array> {
    const at = this.state.layouts.findIndex((layout) => layout.name === name);
    return (await this.#store.npy(`${this.#folder}/layout-${at}.npy`)).data as Float32Array;
  }

  async examples(ids: number[]): Promise<NdArray> {
    const size = valuesOf(this.state);
    const { chunk } = this.#about;
    const wanted = [...new Set(ids.map((id) => Math.floor(id / chunk)))];
    const found = new Map(await Promise.all(wanted.map(async (k): Promise<[number, NdArray]> => {
      const known = this.#chunks.get(k) ?? this.#store.npy(`${this.#folder}/examples-${k}.npy`);
      this.#chunks.set(k, known);
      return [k, await known];
    })));
    const kind = found.get(wanted[0])!.data instanceof Uint8Array ? Uint8Array : Float32Array;
    const data: Numbers = new kind(size * ids.length);
    ids.forEach((id, k) => {
      const from = found.get(Math.floor(id / chunk))!.data;
      data.set(from.subarray((id % chunk) * size, ((id % chunk) + 1) * size), k * size);
    });
    return { shape: [ids.length, ...this.state.event_shape], data };
  }

  async names(ids: number[]): Promise<string[]> {
    const names = await (this.#named ??= this.#store.json<string[]>(`${this.#folder}/names.json`));
    return ids.map((id) => names[id] ?? "");
  }

  async health(): Promise<Health> {
    return this.#about.health;
  }

  async concepts(): Promise<Concept[]> {
    return this.#about.concepts.map((concept) => ({ ...concept, saved: false }));
  }

  async forget(): Promise<void> {
    // The page forgets it by itself.
  }

  async decode(codes: Float32Array, n: number): Promise<NdArray> {
    await this.#ready;
    return this.#engine.ask({ what: "decode", run: this.#index, data: codes, shape: [n, this.state.latent_dim], label: this.#number() });
  }

  async encode(x: NdArray): Promise<Float32Array> {
    await this.#ready;
    const data = Float32Array.from(x.data, x.data instanceof Uint8Array && this.state.display.kind === "image" ? (v) => v / 255 : (v) => v);
    return (await this.#engine.ask({ what: "encode", run: this.#index, data, shape: x.shape, label: this.#number() })).data as Float32Array;
  }

  /** The class by its number; null where the model takes none. */
  #number(): number | null {
    const { labels, label_classes: classes } = this.state;
    return labels === "none" ? null : this.label === null ? -1 : classes.indexOf(this.label);
  }

  async score(): Promise<Score | null> {
    return null;
  }

  async sample(n: number, seed: number): Promise<Float32Array> {
    const { data } = await (this.#samples ??= this.#store.npy(`${this.#folder}/samples.npy`));
    const row = this.#about.drawn * this.state.latent_dim;
    const label = this.#number() ?? -1;
    const first = this.#about.apart ? (label < 0 ? this.state.label_classes.length : label) * this.#about.seeds : 0;
    return (data as Float32Array).slice((first + seed) * row, (first + seed) * row + Math.min(n, this.#about.drawn) * this.state.latent_dim);
  }

  /** The direction between the means, with its separation on a third that it was not learned from. */
  async learn(lesson: Lesson): Promise<Concept> {
    const { name, positive_name, negative_name } = lesson;
    if (!/^[\w-]{1,32}$/.test(name)) throw new Trouble(`A concept's name has letters, digits, - and _, at most 32 of them, and not ${JSON.stringify(name)}.`);
    const both = new Set(lesson.positive);
    const shared = new Set(lesson.negative.filter((id) => both.has(id)));
    const [positive, negative] = [lesson.positive, lesson.negative].map((ids) => ids.filter((id) => !shared.has(id)));
    if (Math.min(positive.length, negative.length) < 4) {
      throw new Trouble(`A concept is learned from at least 4 examples on each side, and has ${positive.length} and ${negative.length}.`);
    }
    const [codes, d] = [await this.codes(), this.state.latent_dim];
    const held = (ids: number[], yes: boolean) => ids.filter((_, k) => (k % 10 < 3) === yes);
    const trial = between(codes, d, held(positive, false), held(negative, false));
    const along = (direction: ArrayLike<number>, ids: number[]) => ids.map((id) => dot(codes, direction, id * d));
    const area = auc(along(trial, held(positive, true)), along(trial, held(negative, true)));
    const direction = between(codes, d, positive, negative);
    const groups = [positive, negative].map((ids) => along(direction, ids));
    const means = groups.map((group) => group.reduce((a, b) => a + b, 0) / group.length);
    const squares = groups.reduce((sum, group, k) => sum + group.reduce((a, b) => a + (b - means[k]) ** 2, 0), 0);
    const unit = Math.sqrt(squares / (positive.length + negative.length - 2));
    if (!(unit > 0)) throw new Trouble("The codes of these groups do not vary along the direction between them: choose groups of examples that differ.");
    return {
      name, direction: [...direction], unit, gap: (means[0] - means[1]) / unit, middle: (means[0] + means[1]) / 2,
      auc: area, auc_low: NaN, auc_high: NaN, positive: positive_name, negative: negative_name,
      counts: [positive.length, negative.length], method: "mean", saved: false,
    };
  }
}

function between(codes: Float32Array, d: number, positive: number[], negative: number[]): Float64Array {
  const made = new Float64Array(d);
  for (const [ids, sign] of [[positive, 1], [negative, -1]] as const) {
    for (const id of ids) for (let i = 0; i < d; i++) made[i] += (sign * codes[id * d + i]) / ids.length;
  }
  const length = Math.sqrt(dot(made, made)) || 1;
  return made.map((value) => value / length);
}

/** The runs of an exported page. */
export async function openLocal(mode: "page" | "site", folders: string[]): Promise<Run[]> {
  const store = new Store(mode === "site" ? "data" : null);
  const script = new TextDecoder().decode(await store.bytes("worker.js"));
  const engine = new Engine(script);
  let first: Promise<unknown> | null = null;
  const runs: Run[] = [];
  for (const [index, folder] of folders.entries()) {
    const about = await store.json<About>(`${folder}/about.json`);
    const { low, high, kind } = about.state.display;
    const load = async () => {
      await first;
      const wasm = index === 0 ? await store.bytes("ort.wasm") : null;
      const [encoder, decoder] = await Promise.all([store.bytes(`${folder}/encoder.onnx`), store.bytes(`${folder}/decoder.onnx`)]);
      return engine.ask({ what: "load", run: index, wasm, encoder, decoder, pixels: kind === "image" ? [low, high] : null }, [encoder, decoder, ...(wasm ? [wasm] : [])]);
    };
    const ready = load();
    ready.catch(() => undefined); // whoever decodes is told
    first = ready;
    runs.push(new LocalRun(store, engine, index, folder, about, ready));
  }
  return runs;
}
