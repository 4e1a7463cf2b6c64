/** What lies under the pointer: beside the pointer on the map, and larger in the panel. */

import type { App, Values } from "./app";
import { h, say, short } from "./dom";
import { Frame } from "./frame";
import { nearest } from "./latent";
import type { MapView } from "./map";
import { rowOf } from "./picture";

type Hovered = NonNullable<App["hovered"]>;

interface Row {
  view: MapView;
  element: HTMLElement;
  made: Frame;
  original: Frame;
  /** The example whose original is shown, or on its way. */
  id: number | null;
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
      const made = new Frame("The model's picture");
      const original = new Frame("The original");
      original.figure.classList.add("absent");
      const title = app.views.length > 1 ? h("h2", {}, view.run.state.name) : null;
      const element = h("div", { className: "lens-row" }, title, h("div", { className: "pair" }, made.figure, original.figure));
      this.#rows.push({ view, element, made, original, id: null });
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
        row.made.show(row.view.artist, null, "No example here");
        continue;
      }
      row.made.wait(row.view.artist, false);
      row.view.decoder.live(code, (array) => this.#decoded(row, hovered, rowOf(row.view.run.state, array, 0)), () => this.#failed(row, hovered));
    }
    if (hovered.spot.spoken) say(`${this.#wordsOf(hovered)}. ${this.#likeness()}`);
  }

  /** The picture of a spot, with all that is said of it; the pointer may have moved on meanwhile, and then the next one is on its way. */
  #decoded(row: Row, hovered: Hovered, values: Values): void {
    if (!this.#app.hovered) return;
    const about = hovered.spot.id !== null ? this.#app.made(row.view, hovered.spot.id, "Its reconstruction") : "Decoded here";
    row.made.show(row.view.artist, values, about);
    if (hovered !== this.#app.hovered) row.made.wait(row.view.artist, false);
    if (row === this.#rows[0]) this.#original(row, hovered.spot.id); // both runs have the same examples
    if (row.view !== hovered.view) return;
    row.view.artist.show(this.#loupes.get(row.view)!.canvas, values);
    this.#tell(this.#wordsOf(hovered));
    document.dispatchEvent(new CustomEvent("diabolo:picture", { detail: { since: hovered.spot.time } }));
  }

  #failed(row: Row, hovered: Hovered): void {
    if (hovered !== this.#app.hovered) return;
    row.made.fail(row.view.artist, "It did not come: move to ask again");
    row.view.artist.show(this.#loupes.get(row.view)!.canvas, null);
    if (row === this.#rows[0]) this.#original(row, hovered.spot.id);
    if (row.view === hovered.view) this.#tell(this.#wordsOf(hovered));
  }

  #original(row: Row, id: number | null): void {
    row.original.figure.classList.toggle("absent", id === null);
    if (id === row.id) return;
    row.id = id;
    if (id === null) return;
    const { artist } = row.view;
    row.original.words = "The original";
    row.original.wait(artist, true);
    this.#app.examples.get(row.view)!.live(
      id,
      (values) => row.id === id && row.original.show(artist, values, "The original"),
      () => {
        if (row.id !== id) return;
        row.id = null;
        row.original.fail(artist, "The original did not come");
      },
    );
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

  #tell(words: string): void {
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  #wordsOf({ spot, view }: Hovered): string {
    const [a, b] = [short(spot.x), short(spot.y)];
    if (spot.id === null) return `${view.plane.labels[0]} ${a}${view.plane.labels[1] ? `, ${view.plane.labels[1]} ${b}` : ""}`;
    const of = this.#app.classOf(spot.id);
    const error = this.#app.value("error", spot.id);
    return `Example ${spot.id.toLocaleString("en")}${of ? `, ${of}` : ""}${Number.isFinite(error) ? `: squared error ${short(error)} a value` : ""}`;
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
    const { pin } = this.#app;
    for (const row of this.#rows) {
      const { artist, base, decoder } = row.view;
      const isPinned = pin?.view === row.view;
      row.made.wait(artist, false);
      const done = (values: Values | null, words: string) => {
        if (this.#app.hovered) return;
        row.made.show(artist, values, words);
        row.original.figure.classList.add("absent");
        row.id = null;
        this.#tell("Move over the map: each spot is a code, and this is what it decodes to.");
      };
      decoder.live(isPinned ? this.#app.pinned() : base, (array) => done(rowOf(row.view.run.state, array, 0), isPinned ? "The pinned code" : base === row.view.mean ? "The average code" : "The pinned example's code"), () => done(null, "It did not come: move over the map to ask again"));
    }
  }
}
