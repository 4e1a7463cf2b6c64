/** The tokens of the pinned example, one for each place of its code; each can be changed to another entry. */

import type { App, Pin } from "./app";
import { button, count, h, say } from "./dom";
import type { NdArray } from "./npy";

const MOST = 1024; // positions that are shown

export class TokensSection {
  readonly element = h("section", { className: "tokens", hidden: true });
  #app: App;
  #pin: Pin | null = null;
  #first: Int32Array = new Int32Array();
  #now: Int32Array = new Int32Array();
  /** The code that is written with them; sliders lead away from it. */
  #code: Float32Array | null = null;
  #cells: HTMLButtonElement[] = [];
  #chosen = -1;
  #what = h("span", {});
  #range = h("input", { type: "range", min: "0", step: "1", oninput: () => void this.#set(Number(this.#range.value)) });
  #number = h("input", { type: "number", min: "0", step: "1", onchange: () => void this.#set(Number(this.#number.value)) });
  #editor = h("div", { className: "token", hidden: true }, this.#what, this.#range, this.#number);
  #words = h("p", { className: "facts" });
  #asked = 0;

  constructor(app: App) {
    this.#app = app;
    app.on(["code"], () => this.#follow());
  }

  /** Another example is pinned. */
  async open(pin: Pin): Promise<void> {
    if (this.#pin === pin) return;
    this.#pin = pin;
    this.element.hidden = true;
    this.#chosen = -1;
    const asked = ++this.#asked;
    const { run } = pin.view;
    const { state } = run;
    if (!run.tokens || !state.tokens || state.tokens.positions > MOST || (pin.id === null && !pin.own)) return;
    const label = pin.id !== null && state.labels !== "none" ? this.#app.classOf(pin.id) || run.label : run.label;
    const tokens = await this.#app.attempt(async () => {
      const data = pin.own?.values ?? (await this.#app.examples.get(pin.view)!.get([pin.id!]))[0];
      const x = { shape: [1, ...state.event_shape], data } as NdArray;
      return run.tokens!(x, label);
    });
    if (!tokens || asked !== this.#asked) return;
    this.#first = tokens;
    this.#now = tokens.slice();
    this.#code = pin.start;
    this.#build();
    this.#follow();
  }

  #build(): void {
    const { code_shape: shape, tokens } = this.#pin!.view.run.state;
    const { positions, levels, entries } = tokens!;
    const columns = shape.length > 2 ? shape[shape.length - 1] : Math.min(positions, 8);
    this.#cells = [];
    const grids = Array.from({ length: levels }, (_, level) => {
      const cells = Array.from({ length: positions }, (_, place) => {
        const at = place * levels + level;
        return (this.#cells[at] = h("button", { type: "button", onclick: () => this.#choose(at) }));
      });
      const grid = h("div", { className: "entries", role: "group", "aria-label": levels > 1 ? `Level ${level + 1}` : "Tokens" }, ...cells);
      grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 38px))`;
      grid.classList.toggle("many", columns > 9); // colours alone: numbers would not be readable
      return levels > 1 ? h("div", {}, h("p", { className: "facts" }, `Level ${level + 1}`), grid) : grid;
    });
    this.#range.max = this.#number.max = String(entries - 1);
    const about = `${count(positions * levels, "token")}, each one of ${count(entries, "entry", "entries")}`;
    this.element.replaceChildren(
      h("div", { className: "title" }, h("h3", { title: about }, "Tokens"), button("Reset tokens", () => void this.#reset())),
      h("div", { className: "levels" }, ...grids), this.#editor, this.#words);
    this.element.hidden = false;
    this.#words.textContent = `${about}. Click one to change it.`;
    this.#editor.hidden = true;
    this.#paint();
  }

  #name(at: number): string {
    const { code_shape: shape, tokens } = this.#pin!.view.run.state;
    const [place, level] = [Math.floor(at / tokens!.levels), at % tokens!.levels];
    const wide = shape[shape.length - 1];
    const where = shape.length > 2 ? `Row ${Math.floor(place / wide) + 1}, column ${(place % wide) + 1}` : `Position ${place + 1}`;
    return tokens!.levels > 1 ? `${where}, level ${level + 1}` : where;
  }

  #paint(): void {
    this.#cells.forEach((cell, at) => {
      const entry = this.#now[at];
      cell.textContent = String(entry);
      cell.style.setProperty("--hue", String((entry * 137.508) % 360)); // neighbours get colours that are far apart
      cell.classList.toggle("changed", entry !== this.#first[at]);
      cell.setAttribute("aria-pressed", String(at === this.#chosen));
      cell.setAttribute("aria-label", `${this.#name(at)}: entry ${entry}`);
    });
    if (this.#chosen < 0) return;
    this.#range.value = this.#number.value = String(this.#now[this.#chosen]);
  }

  #choose(at: number): void {
    this.#chosen = this.#chosen === at ? -1 : at;
    this.#editor.hidden = this.#chosen < 0;
    if (this.#chosen >= 0) {
      const name = this.#name(at);
      this.#what.textContent = name;
      this.#range.setAttribute("aria-label", `${name}: entry`);
      this.#number.setAttribute("aria-label", `${name}: number of the entry`);
    }
    this.#paint();
  }

  async #set(entry: number): Promise<void> {
    const { entries } = this.#pin!.view.run.state.tokens!;
    if (this.#chosen < 0 || !Number.isFinite(entry)) return;
    this.#now[this.#chosen] = Math.max(0, Math.min(entries - 1, Math.round(entry)));
    this.#paint();
    await this.#write();
  }

  #busy = false;
  #again = false;

  /** The newest tokens alone: what came between is passed over. */
  async #write(): Promise<void> {
    this.#again = true;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#again) {
        this.#again = false;
        const pin = this.#pin!;
        const code = await this.#app.attempt(() => pin.view.run.written!(this.#now.slice()));
        if (!code || this.#app.pin !== pin) continue;
        pin.code.set(this.#now.every((entry, k) => entry === this.#first[k]) ? pin.start : code);
        this.#code = pin.code.slice();
        this.#app.recode();
      }
    } finally {
      this.#busy = false;
    }
  }

  async #reset(): Promise<void> {
    this.#now = this.#first.slice();
    this.#paint();
    await this.#write();
    say("The tokens are those of the example");
  }

  /** Codes that were moved by hand are those of other tokens. */
  #follow(): void {
    const { pin } = this.#app;
    if (this.element.hidden || !pin || pin !== this.#pin) return;
    const away = pin.code.some((value, k) => value !== this.#code![k]) || [...pin.strengths.values()].some(Boolean);
    if (away && !this.#busy && pin.code.every((value, k) => value === pin.start[k])) {
      this.#now = this.#first.slice(); // all sliders were reset
      this.#code = pin.start;
      this.#paint();
    }
    this.element.classList.toggle("away", away);
    const { positions, levels, entries } = pin.view.run.state.tokens!;
    this.#words.textContent = away
      ? "The numbers below were changed: these are the tokens before that."
      : `${count(positions * levels, "token")}, each one of ${count(entries, "entry", "entries")}. Click one to change it.`;
  }
}
