/** What lies under the pointer: beside the pointer on the map, and larger in the panel. */

import type { App, Values } from "./app";
import { h, picture, say, short } from "./dom";
import { nearest } from "./latent";
import type { MapView } from "./map";
import { rowOf } from "./picture";

interface Row {
  view: MapView;
  element: HTMLElement;
  made: ReturnType<typeof picture>;
  original: ReturnType<typeof picture>;
}

export class Lens {
  readonly element: HTMLElement;
  #app: App;
  #rows: Row[] = [];
  #words = h("p", { className: "where" });
  #loupes = new Map<MapView, { box: HTMLElement; canvas: HTMLCanvasElement }>();
  #idle = 0;

  constructor(app: App) {
    this.#app = app;
    this.element = h("section", { className: "lens", "aria-label": "Under the pointer" });
    for (const view of app.views) {
      const made = picture("The model's picture");
      const original = picture("The original");
      original.figure.classList.add("absent");
      const title = app.views.length > 1 ? h("h2", {}, view.run.state.name) : null;
      const element = h("div", { className: "lens-row" }, title, h("div", { className: "pair" }, made.figure, original.figure));
      this.#rows.push({ view, element, made, original });
      const canvas = h("canvas", { width: 1, height: 1 });
      const box = h("div", { className: "loupe", hidden: true, "aria-hidden": "true" }, canvas);
      view.element.append(box);
      this.#loupes.set(view, { box, canvas });
      for (const one of [made.canvas, original.canvas, canvas]) one.style.aspectRatio = String(view.artist.aspect);
    }
    this.element.append(...this.#rows.map((row) => row.element), this.#words);
    this.#rest();
    app.on(["hover"], () => this.#update());
    app.on(["label"], () => this.#update());
    app.on(["code", "theme"], () => !app.hovered && this.#rest());
  }

  #update(): void {
    const { hovered } = this.#app;
    if (!hovered) {
      for (const { box } of this.#loupes.values()) box.hidden = true;
      for (const view of this.#app.views) view.decoder.drop();
      clearTimeout(this.#idle);
      this.#idle = window.setTimeout(() => this.#rest(), 80);
      return;
    }
    clearTimeout(this.#idle);
    for (const row of this.#rows) {
      const here = row.view === hovered.view;
      const code = here ? hovered.code : hovered.spot.id !== null ? this.#app.codeOf(row.view, hovered.spot.id) : null;
      this.#place(row.view, here);
      if (!code) {
        row.view.artist.show(row.made.canvas, null);
        row.made.caption.textContent = "No example here";
      } else {
        row.view.decoder.live(code, (array) => this.#decoded(row, rowOf(row.view.run.state, array, 0), here));
      }
      if (row === this.#rows[0]) this.#original(row, hovered.spot.id); // both runs have the same examples
    }
    this.#tell();
  }

  #decoded(row: Row, values: Values, here: boolean): void {
    const hovered = this.#app.hovered;
    if (!hovered) return;
    row.view.artist.show(row.made.canvas, values);
    if (here) row.view.artist.show(this.#loupes.get(row.view)!.canvas, values);
    const about = hovered.spot.id !== null ? this.#app.made(row.view, hovered.spot.id, "Its reconstruction") : "Decoded here";
    if (row.made.caption.textContent !== about) row.made.caption.textContent = about;
    row.made.canvas.setAttribute("aria-label", about);
    if (here) document.dispatchEvent(new CustomEvent("diabolo:picture", { detail: { since: hovered.spot.time } }));
  }

  #original(row: Row, id: number | null): void {
    row.original.figure.classList.toggle("absent", id === null);
    if (id === null) return;
    this.#app.examples.get(row.view)!.live(id, (values) => {
      if (this.#app.hovered?.spot.id === id) row.view.artist.show(row.original.canvas, values);
    });
  }

  #place(view: MapView, here: boolean): void {
    const { box } = this.#loupes.get(view)!;
    const { hovered } = this.#app;
    box.hidden = !here;
    if (!here || !hovered) return;
    const { left, top } = hovered.spot;
    const { width, height } = view.camera;
    const size = 96;
    const x = left + 20 + size * view.artist.aspect > width ? left - 20 - size * view.artist.aspect : left + 20;
    const y = Math.max(4, Math.min(height - size - 4, top - size - 12 < 0 ? top + 16 : top - size - 12));
    box.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  #tell(): void {
    const { hovered } = this.#app;
    if (!hovered) return;
    const { spot, view } = hovered;
    const [a, b] = [short(spot.x), short(spot.y)];
    let words = `${view.plane.labels[0]} ${a}${view.plane.labels[1] ? `, ${view.plane.labels[1]} ${b}` : ""}`;
    if (spot.id !== null) {
      const of = this.#app.classOf(spot.id);
      words = `Example ${spot.id.toLocaleString("en")}${of ? `, ${of}` : ""}`;
      const error = this.#app.value("error", spot.id);
      if (Number.isFinite(error)) words += `: squared error ${short(error)} a value`;
    }
    if (this.#words.textContent !== words) this.#words.textContent = words;
    if (spot.spoken) say(`${words}. ${this.#likeness()}`);
  }

  /** Which classes lie around: what a picture is like, in words. */
  #likeness(): string {
    const { code, view } = this.#app.hovered!;
    const near = nearest(view.codes, view.run.state.latent_dim, code, 10);
    const counts = new Map<string, number>();
    for (const { id } of near) counts.set(this.#app.classOf(id), (counts.get(this.#app.classOf(id)) ?? 0) + 1);
    if (counts.has("")) return "";
    const parts = [...counts].sort((x, y) => y[1] - x[1]).slice(0, 3);
    return `Of the ten examples nearest to it: ${parts.map(([name, times]) => `${times} ${name}`).join(", ")}.`;
  }

  /** Nothing is pointed at: the code that the ground is made from. */
  #rest(): void {
    for (const row of this.#rows) {
      row.original.figure.classList.add("absent");
      const pinned = this.#app.pin !== null;
      row.made.caption.textContent = pinned ? "The pinned code" : "The average code";
      row.view.decoder.live(pinned && this.#app.pin!.view === row.view ? this.#app.pinned() : row.view.base, (array) => {
        if (!this.#app.hovered) row.view.artist.show(row.made.canvas, rowOf(row.view.run.state, array, 0));
      });
    }
    this.#words.textContent = "Move over the map: each spot is a code, and this is what it decodes to.";
  }
}
