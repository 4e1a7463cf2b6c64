/** The active units of the pinned code, where codes have few: how often each is active, and what makes it so. */

import type { App, Pin } from "./app";
import { button, count, h, say, short } from "./dom";
import type { MapView } from "./map";

const SPARSE = 0.5; // of the numbers of codes are zero at least
const LISTED = 12; // units that are shown at once
const TOP = 9; // examples of a unit
const BINS = 24;

/** What the codes of all examples say of one unit. */
interface Unit {
  most: number;
  active: number;
  top: number[];
  bins: number[];
}

export class UnitsSection {
  readonly element = h("section", { className: "units", hidden: true });
  #app: App;
  #pin: Pin | null = null;
  #sparse = new Map<MapView, boolean>();
  #units = new Map<MapView, Map<number, Unit>>();
  #all = false;
  #chosen = -1;
  #list = h("div", { className: "list" });
  #more = h("div", {});
  #editor = h("div", { className: "unit" });
  #input = h("input", { type: "range", step: "any", min: "0", oninput: () => this.#set(Number(this.#input.value)) });
  #number = h("input", { type: "number", min: "0", step: "1", "aria-label": "Number of a unit", onchange: () => this.#choose(Math.round(Number(this.#number.value)), true) });
  #words = h("p", { className: "facts" });
  #asked = 0;

  constructor(app: App) {
    this.#app = app;
    app.on(["code"], () => this.#follow());
  }

  open(pin: Pin): void {
    if (this.#pin === pin) return;
    if (this.#pin?.view !== pin.view) this.#chosen = -1;
    this.#pin = pin;
    const { state } = pin.view.run;
    this.element.hidden = !this.#isSparse(pin.view);
    if (this.element.hidden) return;
    this.#number.max = String(state.latent_dim - 1);
    this.element.replaceChildren(
      h("div", { className: "title" }, h("h3", {}, "Active units"), h("label", { className: "choice" }, h("span", {}, "Unit"), this.#number)),
      this.#words, this.#list, this.#more, this.#editor);
    if (this.#chosen < 0) this.#chosen = this.#order()[0] ?? 0;
    this.#choose(this.#chosen);
  }

  #isSparse(view: MapView): boolean {
    let found = this.#sparse.get(view);
    if (found === undefined) {
      let zeros = 0;
      for (const value of view.codes) if (value === 0) zeros++;
      found = !view.run.state.tokens && view.codes.length > 0 && zeros >= SPARSE * view.codes.length;
      this.#sparse.set(view, found);
    }
    return found;
  }

  /** The active units of the code as it is now, the strongest first. */
  #order(): number[] {
    const { code } = this.#pin!;
    return Array.from(code.keys()).filter((unit) => code[unit] !== 0).sort((a, b) => Math.abs(code[b]) - Math.abs(code[a]));
  }

  #unit(unit: number): Unit {
    const { view } = this.#pin!;
    const known = this.#units.get(view) ?? new Map<number, Unit>();
    this.#units.set(view, known);
    let found = known.get(unit);
    if (!found) {
      const d = view.run.state.latent_dim;
      const strength = (id: number) => Math.abs(view.codes[id * d + unit]);
      const active = Array.from({ length: view.codes.length / d }, (_, id) => id).filter((id) => strength(id) > 0).sort((a, b) => strength(b) - strength(a));
      const most = active.length ? strength(active[0]) : 1;
      const bins = new Array<number>(BINS).fill(0);
      for (const id of active) bins[Math.min(BINS - 1, Math.floor((strength(id) / most) * BINS))]++;
      found = { most, active: active.length, top: active.slice(0, TOP), bins };
      known.set(unit, found);
    }
    return found;
  }

  #choose(unit: number, told = false): void {
    const { view } = this.#pin!;
    const d = view.run.state.latent_dim;
    if (!Number.isFinite(unit)) return;
    this.#chosen = Math.max(0, Math.min(d - 1, unit));
    this.#number.value = String(this.#chosen);
    const { most, active, top, bins } = this.#unit(this.#chosen);
    const total = view.codes.length / d;
    this.#input.max = String(1.5 * most);
    this.#input.setAttribute("aria-label", `Activation of unit ${this.#chosen}`);
    const share = `Unit ${this.#chosen} is active in ${active.toLocaleString("en")} of ${count(total, "example")} (${short((100 * active) / total)}%)`;
    const thumbs = h("div", { className: "neighbours" });
    this.#editor.replaceChildren(
      h("p", { className: "facts" }, active ? `${share}, at most at ${short(most)}.` : `${share}: it is dead here.`),
      active ? histogram(bins, most) : "",
      h("div", { className: "slider" }, h("span", {}, "0"), this.#input, h("output", {}), button("Off", () => this.#set(0), { "aria-label": `Switch unit ${this.#chosen} off` })),
      top.length ? h("h4", {}, "Where it is strongest") : "", thumbs);
    this.#paint();
    if (told) say(share);
    void this.#draw(thumbs, top);
  }

  async #draw(thumbs: HTMLElement, top: number[]): Promise<void> {
    const asked = ++this.#asked;
    const { view } = this.#pin!;
    const unit = this.#chosen;
    const originals = await this.#app.attempt(() => this.#app.examples.get(view)!.get(top));
    if (!originals || asked !== this.#asked) return;
    thumbs.replaceChildren(...top.map((id, k) => {
      const canvas = h("canvas", { width: 1, height: 1, "aria-hidden": "true" });
      canvas.style.aspectRatio = String(view.artist.aspect);
      view.artist.show(canvas, originals[k]);
      const of = this.#app.classOf(id);
      const title = `Example ${id}${of ? `, ${of}` : ""}, unit ${unit} at ${short(this.#app.codeOf(view, id)[unit])}`;
      const act = () => {
        const code = this.#app.codeOf(view, id);
        this.#app.setPin({ view, start: code, code: code.slice(), id, own: null, title: "", strengths: new Map() });
      };
      return h("button", { type: "button", className: "thumb", title, "aria-label": `Pin ${title}`, onclick: act }, canvas, of && h("span", {}, of));
    }));
  }

  #set(value: number): void {
    this.#pin!.code[this.#chosen] = value;
    this.#app.recode();
  }

  #follow(): void {
    if (!this.element.hidden && this.#app.pin && this.#app.pin === this.#pin) this.#paint();
  }

  #paint(): void {
    const { code, start } = this.#pin!;
    const order = this.#order();
    this.#words.textContent = `${order.length.toLocaleString("en")} of ${count(code.length, "unit")} ${order.length === 1 ? "is" : "are"} active, the strongest first. Click one to see what it stands for.`;
    const most = Math.abs(code[order[0]] ?? 1);
    this.#list.replaceChildren(...order.slice(0, this.#all ? undefined : LISTED).map((unit) => {
      const bar = h("span", { className: "bar" });
      bar.style.width = `${(100 * Math.abs(code[unit])) / most}%`;
      const changed = code[unit] !== start[unit] ? " changed" : "";
      return h("button", { type: "button", className: `row-of-unit${changed}`, "aria-pressed": String(unit === this.#chosen), "aria-label": `Unit ${unit}, activation ${short(code[unit])}`, onclick: () => this.#choose(unit) },
        h("span", {}, String(unit)), h("span", { className: "track" }, bar), h("span", {}, short(code[unit])));
    }));
    this.#more.replaceChildren(order.length > LISTED ? button(this.#all ? `Show ${LISTED}` : `Show all ${order.length}`, () => {
      this.#all = !this.#all;
      this.#paint();
    }) : "");
    const value = code[this.#chosen];
    if (value > Number(this.#input.max)) this.#input.max = String(value);
    if (Number(this.#input.value) !== value) this.#input.value = String(value);
    const output = this.#editor.querySelector("output");
    if (output) output.textContent = short(value);
  }
}

/** How strong a unit is in the examples where it is active: the height of a bar is the logarithm of their number. */
function histogram(bins: number[], most: number): HTMLElement {
  const [width, height] = [340, 60];
  const tallest = Math.log1p(Math.max(...bins));
  const bars = bins.map((many, k) => {
    const tall = many ? Math.max(2, (Math.log1p(many) / tallest) * (height - 2)) : 0;
    return `<rect x="${((k * width) / bins.length + 0.5).toFixed(1)}" y="${(height - tall).toFixed(1)}" width="${(width / bins.length - 1).toFixed(1)}" height="${tall.toFixed(1)}" class="bar"><title>${short((k * most) / bins.length)} to ${short(((k + 1) * most) / bins.length)}: ${many}</title></rect>`;
  });
  const figure = h("figure", { className: "histogram" });
  figure.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" class="chart" aria-label="Activations from 0 to ${short(most)}">${bars.join("")}</svg>`;
  figure.append(h("figcaption", {}, `Activations, from 0 to ${short(most)}; the height is the logarithm of how many.`));
  return figure;
}
