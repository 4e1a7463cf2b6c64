/** What the colours of the points mean, under the maps: it covers nothing, and long lists scroll, fold and are searched. */

import type { App } from "./app";
import type { Colouring } from "./colour";
import { rampColour } from "./colour";
import { count, h, say, short } from "./dom";

const MANY = 24; // classes, from which on the list folds and is searched
const MOST = 1000; // that are listed at once

export class Legend {
  readonly element = h("div", { className: "legend", role: "group", "aria-label": "Colours" });
  #app: App;
  #drawn: Colouring | null = null;
  #list = h("div", { className: "list" });
  #fold = h("button", { type: "button", className: "fold", onclick: () => this.#turn() });
  #search = h("input", { type: "text", placeholder: "Search", spellcheck: false, autocomplete: "off", "aria-label": "Search the classes", oninput: () => this.#sift() });
  #folded = false;

  constructor(app: App) {
    this.#app = app;
    app.on(["colour", "theme"], () => app.colouring && this.#draw());
  }

  #draw(): void {
    const { colouring } = this.#app;
    this.element.hidden = colouring.kind === "none";
    if (this.#drawn !== colouring) {
      if (this.#drawn?.name !== colouring.name) this.#search.value = "";
      this.#drawn = colouring;
      if (colouring.kind === "category") this.#build(colouring);
      else this.element.replaceChildren(...this.#ramp(colouring));
    }
    for (const chip of this.#list.querySelectorAll<HTMLElement>(".chip")) chip.setAttribute("aria-pressed", String(!this.#app.hidden.has(Number(chip.dataset.index))));
  }

  #build({ categories, name }: Colouring): void {
    const isLong = categories.length > MANY;
    this.element.replaceChildren(...(isLong ? [h("div", { className: "head" }, this.#fold, this.#search)] : []), this.#list);
    if (!isLong) this.#folded = false;
    this.#fold.textContent = `${name}: ${count(categories.length, "value")}`;
    this.#show();
    this.#sift();
  }

  /** The classes whose name has what is searched for. */
  #sift(): void {
    const { categories } = this.#drawn!;
    const query = this.#search.value.trim().toLowerCase();
    const fitting = categories.filter(({ text }) => text.toLowerCase().includes(query));
    this.#list.replaceChildren(...fitting.slice(0, MOST).map((one) => this.#chip(one)), fitting.length > MOST ? `and ${(fitting.length - MOST).toLocaleString("en")} more: search` : fitting.length ? "" : "No class is called so.");
    if (query) say(count(fitting.length, "class", "classes"));
  }

  #chip({ index, text, colour, count: n }: Colouring["categories"][number]): HTMLElement {
    const chip = h("button", {
      type: "button", className: "chip", "data-index": String(index), "aria-pressed": String(!this.#app.hidden.has(index)),
      title: `${text}: ${count(n, "example")}. Click: only ${text}; again: all. Shift: hide or show it.`,
      onclick: (event: MouseEvent) => this.#isolate(index, event.shiftKey),
    }, h("i", {}), text);
    chip.style.setProperty("--colour", colour);
    return chip;
  }

  #isolate(index: number, one: boolean): void {
    const { hidden, colouring } = this.#app;
    const all = colouring.categories.map((category) => category.index);
    const alone = hidden.size === all.length - 1 && !hidden.has(index);
    if (!one) this.#app.hidden = new Set(alone ? [] : all.filter((other) => other !== index));
    else if (!hidden.delete(index)) hidden.add(index);
    this.#app.paint();
    this.#app.emit("colour");
  }

  #turn(): void {
    this.#folded = !this.#folded;
    this.#show();
  }

  #show(): void {
    this.#fold.setAttribute("aria-expanded", String(!this.#folded));
    this.#list.hidden = this.#search.hidden = this.#folded;
  }

  #ramp({ name, range }: Colouring): HTMLElement[] {
    const stops = Array.from({ length: 9 }, (_, k) => `rgb(${rampColour(this.#app.ground, k / 8).join(" ")})`).join(", ");
    const ramp = h("i", { className: "ramp" });
    ramp.style.background = `linear-gradient(90deg, ${stops})`;
    const unit = this.#app.main.run.state.columns.find((column) => column.name === name)?.unit;
    return [h("span", {}, short(range[0])), ramp, h("span", {}, `${short(range[1])}${unit ? ` ${unit}` : ""}`)];
  }
}
