/** What is shown and chosen, for all parts of the page; they hear of changes by name. */

import { colouring, type Colouring, type Theme } from "./colour";
import { say } from "./dom";
import { Examples } from "./examples";
import { dimensionOf, layoutPlane, lift, project } from "./latent";
import { MapView, type Mark, type Spot, type Tool } from "./map";
import type { NdArray } from "./npy";
import type { Concept, Run } from "./run";

export type Values = NdArray["data"];
export type Change = "hover" | "decoded" | "pin" | "code" | "selection" | "theme" | "colour" | "plane" | "path" | "concepts" | "samples" | "tool" | "view" | "layers" | "tab" | "label" | "columns";

/** What is looked at closely. */
export interface Pin {
  view: MapView;
  /** As it was pinned. */
  start: Float32Array;
  /** With the sliders of the code; concepts are added by `pinned`. */
  code: Float32Array;
  /** An example of the data. */
  id: number | null;
  /** The picture that it came from, where it is no example. */
  own: { values: Values; name: string; notes: string[] } | null;
  title: string;
  strengths: Map<string, number>;
}

export interface Group {
  name: string;
  ids: number[];
}

export class App {
  readonly views: MapView[] = [];
  readonly examples = new Map<MapView, Examples>();
  readonly columns = new Map<string, ArrayLike<number>>();
  theme: Theme = "light";
  /** Of the maps: pictures that are dark look best on dark ground, whatever the page around them. */
  ground: Theme = "light";
  #dark = false;
  colour = "";
  colouring!: Colouring;
  hidden = new Set<number>();
  selection: number[] = [];
  groups: Group[] = [];
  pin: Pin | null = null;
  path: { view: MapView; a: Float32Array; b: Float32Array; ids: [number | null, number | null]; round: boolean } | null = null;
  concepts: Concept[] = [];
  samples: { view: MapView; seed: number; codes: Float32Array } | null = null;
  hovered: { view: MapView; spot: Spot; code: Float32Array } | null = null;
  /** The pinned code, decoded. */
  picture: Values | null = null;
  tool: Tool = "move";
  tab = "pin";
  #ears = new Map<Change, (() => void)[]>();
  #trouble: (error: unknown) => void;
  #colourAsked = 0;
  #planeAsked = 0;
  #sampleAsked = 0;

  constructor(trouble: (error: unknown) => void) {
    this.#trouble = trouble;
  }

  get main(): MapView {
    return this.views[0];
  }

  on(changes: Change[], act: () => void): void {
    for (const change of changes) this.#ears.set(change, [...(this.#ears.get(change) ?? []), act]);
  }

  emit(change: Change): void {
    for (const act of this.#ears.get(change) ?? []) act();
  }

  /** Runs something whose failure the page shall tell. */
  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#trouble(error);
      return undefined;
    }
  }

  add(element: HTMLElement, run: Run, codes: Float32Array): MapView {
    const view: MapView = new MapView(element, run, codes, this.columns.get("class"), {
      hover: (spot) => this.#hover(view, spot),
      click: (spot) => this.#click(view, spot),
      lasso: (ids) => this.select(ids),
      path: (a, b) => this.walk(view, this.codeAt(view, a), this.codeAt(view, b), [a.id, b.id]),
      view: () => this.emit("view"),
    }, this.#trouble);
    this.views.push(view);
    this.examples.set(view, new Examples(run));
    return view;
  }

  other(view: MapView): MapView | null {
    return this.views.find((one) => one !== view) ?? null;
  }

  // Codes

  codeOf(view: MapView, id: number): Float32Array {
    const d = view.run.state.latent_dim;
    return view.codes.slice(id * d, (id + 1) * d);
  }

  codeAt(view: MapView, spot: { x: number; y: number; id: number | null }): Float32Array {
    return spot.id !== null ? this.codeOf(view, spot.id) : lift(view.plane, spot.x, spot.y, view.base);
  }

  /** The pinned code, moved along the concepts. */
  pinned(): Float32Array {
    const code = this.pin!.code.slice();
    if (this.pin!.view !== this.main) return code;
    for (const concept of this.concepts) {
      const strength = (this.pin!.strengths.get(concept.name) ?? 0) * concept.unit;
      if (strength) for (let i = 0; i < code.length; i++) code[i] += strength * concept.direction[i];
    }
    return code;
  }

  /** The runs that take a class with each code. */
  get told(): Run[] {
    return this.views.map(({ run }) => run).filter(({ state }) => state.labels !== "none");
  }

  /** The class of all that is decoded: each run has it under the same name. */
  async setLabel(label: string | null): Promise<void> {
    for (const run of this.told) {
      if (label === null ? run.state.labels === "partial" : run.state.label_classes.includes(label)) run.label = label;
    }
    for (const view of this.views) {
      view.mosaic.forget();
      view.redraw("ground");
    }
    say(label === null ? "No class in particular" : `Decoded as ${label}`);
    this.emit("label");
    this.emit("code");
    if (this.samples) await this.sample(this.samples.codes.length / this.main.run.state.latent_dim, this.samples.seed);
  }

  /** What a decoded example is called: where the class is another than its own, it is no reconstruction. */
  made(view: MapView, id: number, otherwise: string): string {
    const { state, label } = view.run;
    const own = this.classOf(id);
    return state.labels === "none" || own === (label ?? "") ? otherwise : label === null ? "Decoded without a class" : `Decoded as ${label}`;
  }

  classOf(id: number): string {
    const [name, values] = [this.main.run.state.classes, this.columns.get("class")];
    return values ? (name[values[id]] ?? "") : "";
  }

  value(column: string, id: number): number {
    return this.columns.get(column)?.[id] ?? NaN;
  }

  // Acts

  #hover(view: MapView, spot: Spot | null): void {
    this.hovered = spot ? { view, spot, code: this.codeAt(view, spot) } : null;
    this.other(view)?.twin(spot?.id ?? null);
    view.twin(null);
    this.emit("hover");
  }

  #click(view: MapView, spot: Spot): void {
    if (this.tool === "path") {
      this.#pathClick(view, spot);
      return;
    }
    const code = this.codeAt(view, spot);
    this.setPin({ view, start: code, code: code.slice(), id: spot.id, own: null, title: "", strengths: new Map() }, spot.spoken);
  }

  #pathStart: { view: MapView; spot: Spot } | null = null;

  #pathClick(view: MapView, spot: Spot): void {
    const start = this.#pathStart;
    if (start?.view === view) {
      this.#pathStart = null;
      this.walk(view, this.codeAt(view, start.spot), this.codeAt(view, spot), [start.spot.id, spot.id]);
    } else {
      this.#pathStart = { view, spot };
      this.path = null;
      say("The path starts here. Now choose where it ends.");
      this.emit("path");
      this.remark();
    }
  }

  setPin(pin: Pin | null, quiet = true): void {
    this.pin = pin;
    this.picture = null;
    if (pin) {
      pin.title ||= pin.id !== null ? `Example ${pin.id.toLocaleString("en")}` : "A spot on the map";
      if (!quiet) this.show("pin");
    }
    for (const view of this.views) view.setBase(pin && pin.view === view ? this.pinned() : pin?.id != null ? this.codeOf(view, pin.id) : view.mean);
    if (!["pin", "concepts"].includes(this.tab)) this.show("pin");
    this.emit("pin");
    this.emit("code");
    this.remark();
  }

  #rebase = 0;

  /** The pinned code has changed. */
  recode(): void {
    this.emit("code");
    this.remark();
    clearTimeout(this.#rebase);
    this.#rebase = window.setTimeout(() => this.pin?.view.setBase(this.pinned()), 250);
  }

  walk(view: MapView, a: Float32Array, b: Float32Array, ids: [number | null, number | null] = [null, null], round = this.path?.round ?? false): void {
    this.path = { view, a, b, ids, round };
    this.show("path");
    this.emit("path");
    this.remark();
  }

  select(ids: number[]): void {
    this.selection = ids;
    say(ids.length ? `${ids.length} examples selected` : "Nothing is selected");
    this.paint();
    this.emit("selection");
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    this.#pathStart = null;
    for (const view of this.views) {
      view.tool = tool;
      view.element.dataset.tool = tool;
    }
    this.remark();
    this.emit("tool");
  }

  show(tab: string): void {
    if (this.tab === tab) return;
    this.tab = tab;
    this.emit("tab");
  }

  /** Draws from the prior; whether it answered. */
  async sample(n: number, seed: number): Promise<boolean> {
    const view = this.main;
    const asked = ++this.#sampleAsked;
    const codes = await this.attempt(() => view.run.sample(n, seed));
    if (!codes || asked !== this.#sampleAsked) return !!codes;
    this.samples = { view, seed, codes };
    this.emit("samples");
    this.remark();
    return true;
  }

  /** The principal components ("pca"), two numbers of the code ("0,3"), or a layout ("layout:NAME"). */
  async setPlane(key: string): Promise<void> {
    const asked = ++this.#planeAsked;
    const layout = this.main.run.state.layouts.find(({ name }) => key === `layout:${name}`);
    const placed = layout ? await this.attempt(() => Promise.all(this.views.map(({ run }) => run.layout(layout.name)))) : null;
    if (asked !== this.#planeAsked) return;
    if (layout && !placed) {
      this.emit("plane"); // as it was: what names it goes back
      return;
    }
    for (const [k, view] of this.views.entries()) {
      const d = view.run.state.latent_dim;
      if (layout && placed) {
        view.setPlane(layoutPlane(layout.name, layout.labels, view.codes, placed[k], d));
        continue;
      }
      const plane = view.planeOf(key);
      if (plane) view.setPlane(plane);
    }
    this.emit("plane");
    this.emit("view");
    this.remark();
  }

  // What the maps show

  /** Pins, samples and ways, on the maps. */
  remark(): void {
    for (const view of this.views) {
      const marks: Mark[] = [];
      const single = view.run.state.latent_dim === 1; // then the other axis is made up
      const height = (id: number | null) => (single && id !== null ? view.places[2 * id + 1] : null);
      const put = (code: ArrayLike<number>, kind: Mark["kind"], label?: string, at = 0, other: number | null = null) => {
        const [x, projected] = project(view.plane, code, at);
        const y = other ?? (single ? 0 : projected);
        marks.push({ x, y, kind, ...(label ? { label } : {}) });
      };
      const route: [number, number][] = [];
      if (this.samples?.view === view && this.tab === "samples") {
        const d = view.run.state.latent_dim;
        for (let at = 0; at < this.samples.codes.length; at += d) put(this.samples.codes, "sample", undefined, at);
      }
      if (this.#pathStart?.view === view) put(this.codeAt(view, this.#pathStart.spot), "end", "from");
      if (this.path?.view === view && this.tab === "path") {
        put(this.path.a, "end", "from");
        put(this.path.b, "end", "to");
        route.push(project(view.plane, this.path.a), project(view.plane, this.path.b));
      }
      if (this.pin?.own && this.pin.view === view) put(this.pin.start, "own", this.pin.own.name);
      if (this.pin && this.pin.view === view) put(this.pinned(), "pin", undefined, 0, height(this.pin.id));
      else if (this.pin?.id != null) put(this.codeOf(view, this.pin.id), "pin", undefined, 0, height(this.pin.id));
      view.mark(marks, route);
    }
  }

  async setColour(name: string): Promise<void> {
    const asked = ++this.#colourAsked;
    const state = this.main.run.state;
    const column = state.columns.find((one) => one.name === name);
    let values: ArrayLike<number> | null = null;
    const [d, i] = [state.latent_dim, dimensionOf(name, state.latent_dim)];
    if (!column && i >= 0) {
      values = Float32Array.from({ length: state.count }, (_, row) => this.main.codes[row * d + i]);
    } else if (column) {
      values = (await this.attempt(() => this.load(name))) ?? null;
    }
    if (asked !== this.#colourAsked) return;
    if (column && !values && this.colouring) {
      this.emit("colour"); // as it was: what names it goes back
      return;
    }
    if (name !== this.colour) this.hidden.clear();
    this.colour = name;
    this.colouring = colouring(this.ground, name, values, column?.kind === "category" ? (column.categories ?? []) : null);
    this.paint();
    this.emit("colour");
  }

  async load(name: string): Promise<ArrayLike<number>> {
    const known = this.columns.get(name);
    if (known) return known;
    const values = await this.main.run.column(name);
    this.columns.set(name, values);
    return values;
  }

  paint(): void {
    const n = this.main.run.state.count;
    const made = new Uint8Array(4 * n);
    const strong = n > 20000 ? 200 : 235;
    const chosen = this.selection.length ? new Set(this.selection) : null;
    for (let row = 0; row < n; row++) {
      const [r, g, b] = this.colouring.of(row);
      const shown = !this.hidden.has(this.colouring.category(row));
      made[4 * row] = r;
      made[4 * row + 1] = g;
      made[4 * row + 2] = b;
      made[4 * row + 3] = !shown ? 0 : chosen ? (chosen.has(row) ? 255 : 28) : strong;
    }
    for (const view of this.views) view.paint(made);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.ground = theme === "dark" || this.#dark ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    this.main.element.parentElement!.dataset.theme = this.ground;
    const dark = this.ground === "dark";
    for (const view of this.views) {
      view.theme({ line: dark ? "#ffffff" : "#1b1f24", under: dark ? "#0b0d11" : "#ffffff", accent: dark ? "#93b1ff" : "#2447c7" });
      view.artist.dress(dark ? "#93b1ff" : "#2447c7");
      view.mosaic.forget();
    }
    if (this.colouring) void this.setColour(this.colour);
    this.emit("theme");
  }

  /** Looks at what the average code decodes to. */
  async sense(): Promise<void> {
    const { state } = this.main.run;
    if (state.display.kind !== "image") return;
    const array = await this.attempt(() => this.main.run.decode(this.main.mean.slice(), 1));
    if (array) this.#dark = Float64Array.from(array.data).reduce((sum, value) => sum + value, 0) / array.data.length < 110;
  }
}
