/** A run behind `diabolo explore`. */

import { parseNpy, writeNpy, type NdArray, type Numbers } from "./npy";
import { firstLabel, Trouble, type Concept, type Health, type Lesson, type Run, type Score, type State } from "./run";

const NPY = "application/x-npy";
const ATTEMPTS = 3;
const PAUSE = 300; // milliseconds
const UNKNOWN = "-1"; // the number of no class
const STOPPED = "diabolo does not answer: it was stopped. Start it again in the terminal, and open its new address.";

export class ServerRun implements Run {
  readonly limits = "";
  readonly seeds = 2 ** 32;
  readonly state: State;
  label: string | null;
  readonly #base: string;
  readonly #token: string;
  readonly #line: Line;

  private constructor(base: string, token: string, state: State) {
    this.#base = base;
    this.#token = token;
    this.state = state;
    this.label = firstLabel(state);
    this.#line = new Line(`${base}/live`, token);
  }

  static async open(base: string, token: string): Promise<ServerRun> {
    const answer = await ask(`${base}/explore/state`, token, {});
    return new ServerRun(base, token, (await answer.json()) as State);
  }

  async codes(): Promise<Float32Array> {
    return (await this.#array("/explore/codes")).data as Float32Array;
  }

  async column(name: string): Promise<ArrayLike<number>> {
    return (await this.#array(`/explore/columns/${encodeURIComponent(name)}`)).data;
  }

  async layout(name: string): Promise<Float32Array> {
    return (await this.#array(`/explore/layouts/${encodeURIComponent(name)}`)).data as Float32Array;
  }

  async examples(ids: number[]): Promise<NdArray> {
    return this.#array("/explore/examples", JSON.stringify({ ids }));
  }

  async names(ids: number[]): Promise<string[]> {
    return this.#json("/explore/names", "POST", { ids });
  }

  health(): Promise<Health> {
    return this.#json("/explore/health");
  }

  concepts(): Promise<Concept[]> {
    return this.#json("/explore/concepts");
  }

  learn(lesson: Lesson): Promise<Concept> {
    return this.#json("/explore/concepts", "POST", lesson);
  }

  async forget(name: string): Promise<void> {
    await ask(`${this.#base}/explore/concepts/${encodeURIComponent(name)}`, this.#token, { method: "DELETE" });
  }

  async decode(codes: Float32Array, n: number): Promise<NdArray> {
    const { label } = this;
    if (n === 1 && (await this.#line.open())) {
      const data = await this.#line.ask(codes, this.state.labels === "none" ? null : (label ?? UNKNOWN));
      return this.#arranged(this.state.display.kind === "image" ? new Uint8Array(data) : new Float32Array(data), 1);
    }
    const body = writeNpy({ shape: [n, this.state.latent_dim], data: codes });
    return this.#arranged((await this.#array(`/decode?pixels=${this.state.display.kind === "image"}${this.#told(label)}`, body)).data, n);
  }

  /** Pixels come as they are drawn, (n, H, W) or (n, H, W, 3); here every picture has the axes of an example. */
  #arranged(data: Numbers, n: number): NdArray {
    const shape = [n, ...this.state.event_shape];
    const { kind, height = 1, width = 1, channels = 1 } = this.state.display;
    const area = height * width;
    const drawn = data.length / (n * area);
    const planes = this.state.layout === "CHW";
    if (kind !== "image" || (drawn === channels && (!planes || channels === 1))) return { shape, data };
    const made = new Uint8Array(n * area * channels);
    for (let k = 0; k < n; k++) {
      for (let i = 0; i < area; i++) {
        for (let c = 0; c < channels; c++) {
          const at = planes ? c * area + i : i * channels + c;
          made[k * channels * area + at] = data[(k * area + i) * drawn + Math.min(c, drawn - 1)];
        }
      }
    }
    return { shape, data: made };
  }

  async encode(x: NdArray): Promise<Float32Array> {
    return (await this.#array(`/encode?${this.#told(this.label)}`, writeNpy(x))).data as Float32Array;
  }

  readonly tokens = async (x: NdArray, label: string | null): Promise<Int32Array> => Int32Array.from((await this.#array(`/tokens?${this.#told(label)}`, writeNpy(x))).data);

  readonly written = async (tokens: Int32Array): Promise<Float32Array> => {
    const { positions, levels } = this.state.tokens!;
    return (await this.#array("/codes", writeNpy({ shape: [1, positions, levels], data: tokens }))).data as Float32Array;
  };

  readonly completed = async (upper: Float32Array): Promise<Float32Array> =>
    (await this.#array("/codes", writeNpy({ shape: [1, upper.length], data: upper }))).data as Float32Array;

  /** The class, as a parameter. */
  #told(label: string | null): string {
    return this.state.labels === "none" ? "" : `&label=${encodeURIComponent(label ?? UNKNOWN)}`;
  }

  async score(x: NdArray): Promise<Score> {
    const limit = this.state.threshold;
    const kind = limit?.kind ?? "reconstruction";
    const value = (await this.#array(`/score?kind=${kind}${this.#told(this.label)}`, writeNpy(x))).data[0];
    return { value, what: kind, unusual: limit ? value > limit.limit : null };
  }

  async sample(n: number, seed: number): Promise<Float32Array> {
    return (await this.#array(`/sample?codes=true&n=${n}&seed=${seed}${this.#told(this.label)}`, "")).data as Float32Array;
  }

  async #array(path: string, body?: Uint8Array<ArrayBuffer> | string): Promise<NdArray> {
    const headers: Record<string, string> = { Accept: NPY };
    if (body !== undefined) headers["Content-Type"] = typeof body === "string" ? "application/json" : NPY;
    const given = body === undefined ? {} : { method: "POST", body };
    return parseNpy(await (await ask(this.#base + path, this.#token, { headers, ...given })).arrayBuffer());
  }

  async #json<T>(path: string, method = "GET", body?: unknown): Promise<T> {
    const given = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    return (await (await ask(this.#base + path, this.#token, { method, ...given })).json()) as T;
  }
}

/**
 * A WebSocket for single codes: it answers in half the time of a request. A code goes out as float32 numbers; back come
 * the values of its picture, or an error in words. Where none can be opened, requests do. Before codes of another class
 * goes a message that names it, which is answered with nothing.
 */
class Line {
  #url: string;
  #opening: Promise<WebSocket | null> | null = null;
  #waiting: { resolve: (data: ArrayBuffer) => void; reject: (error: unknown) => void }[] = [];
  #failures = 0;
  #label: string | null = null;

  constructor(path: string, token: string) {
    this.#url = `${location.origin.replace(/^http/, "ws")}${path}?token=${encodeURIComponent(token)}`;
  }

  async open(): Promise<boolean> {
    if (this.#failures > 2) return false;
    this.#opening ??= new Promise((resolve) => {
      const socket = new WebSocket(this.#url);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        this.#failures = 0;
        this.#label = null;
        resolve(socket);
      };
      socket.onmessage = ({ data }) => {
        const one = this.#waiting.shift();
        if (typeof data === "string") one?.reject(new Trouble(data));
        else one?.resolve(data as ArrayBuffer);
      };
      socket.onclose = () => {
        this.#failures++;
        this.#opening = null;
        for (const one of this.#waiting.splice(0)) one.reject(new Trouble(STOPPED));
        resolve(null);
      };
    });
    return (await this.#opening) !== null;
  }

  async ask(code: Float32Array, label: string | null): Promise<ArrayBuffer> {
    const socket = await this.#opening;
    return new Promise((resolve, reject) => {
      if (socket?.readyState !== WebSocket.OPEN) {
        reject(new Trouble(STOPPED));
        return;
      }
      if (label !== this.#label) {
        this.#label = label;
        this.#waiting.push({ resolve: () => undefined, reject: () => undefined }); // what is wrong with it, the codes' answer tells
        socket.send(`label=${label ?? ""}`);
      }
      this.#waiting.push({ resolve, reject });
      socket.send(new Float32Array(code));
    });
  }
}

/** A server that was just started again may refuse the first connection; what changes nothing is asked for again. */
async function tried(act: () => Promise<Response>, attempts: number): Promise<Response> {
  for (let left = attempts; ; ) {
    try {
      return await act();
    } catch {
      if (--left < 1) throw new Trouble(STOPPED);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}

async function ask(url: string, token: string, options: RequestInit): Promise<Response> {
  const headers = { ...(options.headers as Record<string, string>), Authorization: `Bearer ${token}` };
  const answer = await tried(() => fetch(url, { ...options, headers }), url.endsWith("/concepts") || options.method === "DELETE" ? 1 : ATTEMPTS);
  if (answer.ok) return answer;
  if (answer.status === 401) {
    throw new Trouble("This page is older than the server: open the address that diabolo printed when it was started again.");
  }
  const said = (await answer.json().catch(() => null)) as { error?: string } | null;
  throw new Trouble(said?.error ?? `The server answered with status ${answer.status}.`);
}
