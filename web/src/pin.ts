/** The pinned code: a large picture, its numbers as sliders, its neighbours, what to do with it. */

import type { App } from "./app";
import { button, h, icon, save, savePng, say, short } from "./dom";
import { Frame } from "./frame";
import { dimension, moments, quantiles } from "./latent";
import { copyLink } from "./link";
import type { MapView } from "./map";
import { NeighboursSection } from "./neighbours";
import { TokensSection } from "./tokens";
import { UnitsSection } from "./units";
import { writeNpz, type NdArray } from "./npy";
import { rowOf } from "./picture";

const FIRST = 12; // sliders shown at once

interface Slider {
  index: number;
  element: HTMLElement;
  input: HTMLInputElement;
  output: HTMLElement;
}

export class PinPanel {
  readonly element = h("div", { className: "panel" });
  #app: App;
  #sliders: Slider[] = [];
  #ranges = new Map<MapView, { low: number; high: number }[]>();
  #order = new Map<MapView, number[]>();
  #all = false;
  #made = new Frame("The pinned code, decoded");
  #other = new Frame("");
  #original = new Frame("The original");
  #facts = h("p", { className: "facts" });
  #neighbours: NeighboursSection;
  /** The features of a table's row, and what became of them. */
  #values = h("table", { className: "values" });
  #tokens: TokensSection;
  #units: UnitsSection;
  #source: ArrayLike<number> | null = null;
  #seen: unknown = null;
  #asked = 0;

  constructor(app: App) {
    this.#app = app;
    this.#neighbours = new NeighboursSection(app);
    this.#tokens = new TokensSection(app);
    this.#units = new UnitsSection(app);
    app.on(["pin"], () => this.#build());
    app.on(["code"], () => this.#update());
    app.on(["columns"], () => void this.#tell());
    app.on(["theme", "plane"], () => this.#app.pin && this.#update());
    this.#build();
  }

  #build(): void {
    const { pin } = this.#app;
    const isOther = pin !== this.#seen;
    this.#seen = pin;
    this.#source = null;
    void this.#tell();
    if (!pin) {
      this.element.replaceChildren(h("p", { className: "empty" }, "Click the map to pin what lies there: its picture, its code as sliders, and the examples most like it."));
      return;
    }
    const { view } = pin;
    if (isOther) {
      this.#neighbours.open();
      this.#values.replaceChildren();
    }
    const isIn: [Frame, boolean][] = [[this.#made, true], [this.#original, pin.id !== null || !!pin.own], [this.#other, pin.id !== null && !!this.#app.other(view)]];
    for (const [frame, is] of isIn) {
      frame.figure.classList.toggle("absent", !is);
      frame.canvas.style.aspectRatio = String(view.artist.aspect);
      if (is && isOther) frame.wait(view.artist, true);
    }
    const close = h("button", { type: "button", className: "tool", "aria-label": "Take the pin off", title: "Take the pin off (Escape)", onclick: () => this.#app.setPin(null) }, icon("close"));
    this.element.replaceChildren(
      h("div", { className: "title" }, h("h2", {}, pin.title), close),
      h("div", { className: "pair large" }, this.#made.figure, this.#original.figure, this.#other.figure),
      this.#facts,
      this.#values,
      h("div", { className: "row" },
        button("Save picture", () => void this.#savePicture()),
        button("Save code (NPZ)", () => void this.#saveCode()),
        button("Copy link", () => void copyLink()),
      ),
      this.#tokens.element,
      this.#units.element,
      ...this.#codeSections(view),
      this.#neighbours.element,
    );
    this.#fill();
    void this.#tokens.open(pin);
    this.#units.open(pin);
    this.#drawOriginal();
  }

  #name(): string {
    const { pin } = this.#app;
    return `${pin!.view.run.state.name}-${pin!.id !== null ? `example-${pin!.id}` : "pin"}`.replace(/[^\w.-]+/g, "-");
  }

  #rangesOf(view: MapView): { low: number; high: number }[] {
    let found = this.#ranges.get(view);
    if (!found) {
      const d = view.run.state.latent_dim;
      found = Array.from({ length: d }, (_, i) => {
        const [low, high] = quantiles(view.codes, d, i, [0.001, 0.999]);
        return { low, high: high > low ? high : low + 1e-3 };
      });
      this.#ranges.set(view, found);
      const spread = moments(view.codes, d).variance;
      this.#order.set(view, Array.from({ length: d }, (_, i) => i).sort((a, b) => spread[b] - spread[a]));
    }
    return found;
  }

  /** The code's numbers; those of each of its parts, where it has several, the last one first: it makes the others. */
  #codeSections(view: MapView): HTMLElement[] {
    const { parts } = view.run.state;
    this.#sliders = [];
    if (!parts.length) return [this.#codeSection(view, "")];
    let from = 0;
    const sections = parts.map(([name, size]) => this.#codeSection(view, name, from, (from += size))).reverse();
    const [upper, lower] = [parts[parts.length - 1][0], parts[0][0]];
    sections[0].append(h("p", { className: "facts" }, view.run.completed ? `Move ${upper}, and ${lower} goes where ${upper} expects it.` : `Pictures are of ${lower}: ${upper} says where it is to be expected.`));
    return sections;
  }

  #codeSection(view: MapView, part: string, from = 0, to = view.run.state.latent_dim): HTMLElement {
    const d = to - from;
    const ranges = this.#rangesOf(view);
    const order = this.#order.get(view)!.filter((i) => i >= from && i < to);
    const shown = this.#all || d <= FIRST + 4 ? Array.from({ length: d }, (_, i) => from + i) : order.slice(0, FIRST);
    const sliders = shown.map((index) => this.#slider(index, ranges[index], part ? `${part} ${index - from + 1}` : dimension(index)));
    this.#sliders.push(...sliders);
    const more = shown.length < d && button(`Show all ${d}`, () => {
      this.#all = true;
      this.#build();
      this.#update();
    });
    const whose = part ? `${part}'s` : "The code's";
    const what = shown.length < d ? `The ${shown.length} of ${whose.toLowerCase()} ${d} numbers that vary most` : d === 1 ? `${whose} number` : `${whose} ${d} numbers`;
    return h("section", { className: "code" },
      h("div", { className: "title" }, h("h3", {}, what), button("Reset all", () => this.#reset())),
      ...sliders.map((slider) => slider.element), more);
  }

  #slider(index: number, { low, high }: { low: number; high: number }, name: string): Slider {
    const output = h("output", {});
    const input = h("input", {
      type: "range", min: String(low), max: String(high), step: "any", "aria-label": name,
      oninput: () => {
        this.#app.pin!.code[index] = Number(input.value);
        this.#app.recode();
        void this.#complete(index);
      },
      onkeydown: (event: KeyboardEvent) => this.#fine(event, input),
    });
    const reset = h("button", {
      type: "button", className: "tool small", "aria-label": `Reset ${name}`, title: "Reset",
      onclick: () => {
        this.#app.pin!.code[index] = this.#app.pin!.start[index];
        this.#app.recode();
      },
    }, icon("reset"));
    return { index, input, output, element: h("div", { className: "slider" }, h("span", {}, name), input, output, reset) };
  }

  /** The upper level moved: the lower one is what it expects. */
  async #complete(index: number): Promise<void> {
    const pin = this.#app.pin!;
    const { run } = pin.view;
    const upper = run.state.parts.at(-1)?.[1] ?? 0;
    const from = run.state.latent_dim - upper;
    if (!run.completed || !upper || index < from) return;
    const asked = ++this.#completing;
    const code = await this.#app.attempt(() => run.completed!(pin.code.slice(from)));
    if (!code || asked !== this.#completing || this.#app.pin !== pin) return;
    pin.code.set(code);
    this.#app.recode();
  }

  #completing = 0;

  /** A slider whose step is "any" has no step of its own for the keyboard. */
  #fine(event: KeyboardEvent, input: HTMLInputElement): void {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    input.value = String(Number(input.value) + way * ((Number(input.max) - Number(input.min)) / (event.shiftKey ? 10 : 60)));
    input.dispatchEvent(new Event("input"));
  }

  #reset(): void {
    const { pin } = this.#app;
    if (!pin) return;
    pin.code.set(pin.start);
    pin.strengths.clear();
    this.#app.recode();
    say("The code is as it was pinned");
  }

  #update(): void {
    const { pin } = this.#app;
    if (!pin) return;
    if (this.#seen !== pin) this.#build();
    this.#fill();
    this.#made.wait(pin.view.artist, false);
    void this.#decode();
    this.#neighbours.update();
  }

  /** The sliders stand where the code is. */
  #fill(): void {
    const { pin } = this.#app;
    for (const { index, input, output } of pin ? this.#sliders : []) {
      const value = pin!.code[index];
      if (value < Number(input.min)) input.min = String(value);
      if (value > Number(input.max)) input.max = String(value);
      if (Number(input.value) !== value) input.value = String(value);
      output.textContent = short(value);
      input.classList.toggle("changed", value !== pin!.start[index]);
    }
  }

  #decoding = false;
  #again = false;

  /** The newest code alone: what came between is passed over. */
  async #decode(): Promise<void> {
    this.#again = true;
    if (this.#decoding) return;
    this.#decoding = true;
    try {
      while (this.#again && this.#app.pin) {
        this.#again = false;
        const { pin } = this.#app;
        const { view } = pin;
        const array = await this.#app.attempt(() => view.run.decode(this.#app.pinned(), 1));
        if (this.#app.pin !== pin) continue;
        this.#app.picture = array ? rowOf(view.run.state, array, 0) : null;
        if (!array) {
          this.#made.fail(view.artist, "It did not come.", () => this.#update());
          this.#app.emit("decoded");
          continue;
        }
        const moved = pin.code.some((value, i) => value !== pin.start[i]) || [...pin.strengths.values()].some(Boolean);
        const words = moved ? "Changed, decoded" : pin.id !== null ? this.#app.made(view, pin.id, "Reconstruction") : pin.own ? "Reconstruction" : "Decoded";
        this.#made.show(view.artist, this.#app.picture, words, `${pin.title}: ${words}`);
        if (this.#again) this.#made.wait(view.artist, false);
        this.#app.emit("decoded");
        this.#list();
      }
    } finally {
      this.#decoding = false;
    }
    await this.#decodeOther();
  }

  /** A row of a table, in numbers. */
  #list(): void {
    const { pin, picture: made } = this.#app;
    const state = pin?.view.run.state;
    this.#values.hidden = !made || state?.layout !== "F" || made.length > 200;
    if (this.#values.hidden || !state || !made) return;
    const source = this.#source;
    const names = state.features.length ? state.features : Array.from(made, (_, i) => `feature ${i + 1}`);
    const cell = (value: number | undefined) => h("td", {}, value === undefined ? "" : short(value, 4));
    const head = h("tr", {}, h("th", { scope: "col" }, "Feature"), source && h("th", { scope: "col" }, "Original"), h("th", { scope: "col" }, "Decoded"));
    const rows = names.map((name, i) => h("tr", {}, h("th", { scope: "row" }, name), source && cell(source[i]), cell(made[i])));
    this.#values.replaceChildren(h("thead", {}, head), h("tbody", {}, ...rows));
  }

  async #decodeOther(): Promise<void> {
    const { pin } = this.#app;
    const second = pin && this.#app.other(pin.view);
    if (!pin || !second || pin.id === null) return;
    const array = await this.#app.attempt(() => second.run.decode(this.#app.codeOf(second, pin.id!), 1));
    if (this.#app.pin !== pin) return;
    if (array) this.#other.show(second.artist, rowOf(second.run.state, array, 0), `By ${second.run.state.name}`);
    else this.#other.fail(second.artist, `By ${second.run.state.name}: it did not come.`, () => void this.#decodeOther());
  }

  async #drawOriginal(): Promise<void> {
    const { pin } = this.#app;
    if (!pin) return;
    const { view } = pin;
    if (pin.own) {
      this.#source = pin.own.values;
      this.#original.show(view.artist, pin.own.values, "Your picture");
    } else if (pin.id !== null) {
      this.#original.words = "The original";
      const found = await this.#app.attempt(() => this.#app.examples.get(view)!.get([pin.id!]));
      if (this.#app.pin !== pin) return;
      this.#source = found?.[0] ?? null;
      if (found) this.#original.show(view.artist, found[0], "The original");
      else this.#original.fail(view.artist, "The original did not come.", () => void this.#drawOriginal());
    }
    this.#list();
  }

  async #tell(): Promise<void> {
    const { pin } = this.#app;
    const asked = ++this.#asked;
    if (!pin) return;
    const words: string[] = [...(pin.own?.notes ?? [])];
    if (pin.id !== null) {
      const of = this.#app.classOf(pin.id);
      if (of) words.push(`Class: ${of}.`);
      const error = this.#app.value("error", pin.id);
      if (Number.isFinite(error)) words.push(`Squared error of a value: ${short(error)}, ${this.#rank("error", error)}.`);
      const score = this.#app.value("score", pin.id);
      if (Number.isFinite(score)) words.push(`Anomaly score (reconstruction, nats): ${short(score, 4)}.`);
    }
    const put = () => this.#facts.replaceChildren(...words.flatMap((word) => [h("span", {}, word), " "]));
    put();
    if (pin.id === null || !pin.view.run.state.named) return;
    const names = await this.#app.attempt(() => pin.view.run.names([pin.id!]));
    if (asked !== this.#asked || !names?.[0]) return;
    words.unshift(`${names[0]}.`);
    put();
  }

  #rank(column: string, value: number): string {
    const values = this.#app.columns.get(column);
    if (!values) return "";
    let below = 0;
    for (let i = 0; i < values.length; i++) if (values[i] < value) below++;
    return `larger than ${short((100 * below) / values.length, 3)}% of the data`;
  }

  /** The pinned code and its picture, as they are together: what is on the page may still be on its way. */
  async #current(): Promise<{ code: Float32Array; picture: NdArray["data"] } | null> {
    const { run } = this.#app.pin!.view;
    const code = this.#app.pinned();
    const array = await this.#app.attempt(() => run.decode(code, 1));
    return array ? { code, picture: rowOf(run.state, array, 0) } : null;
  }

  async #savePicture(): Promise<void> {
    const [name, { artist }] = [this.#name(), this.#app.pin!.view];
    const made = await this.#current();
    if (made) savePng(artist.picture(made.picture), `${name}.png`, 512);
  }

  async #saveCode(): Promise<void> {
    const [name, { state }] = [this.#name(), this.#app.pin!.view.run];
    const made = await this.#current();
    if (made) save(writeNpz({ code: { shape: [state.latent_dim], data: made.code }, picture: { shape: state.event_shape, data: made.picture } }), `${name}.npz`);
  }

}
