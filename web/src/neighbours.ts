/** The examples of the data that are nearest to the pinned code, by Euclidean distance in the whole code. */

import type { App } from "./app";
import { button, h, short } from "./dom";
import { askAgain, busy } from "./frame";
import { nearest } from "./latent";

const NEIGHBOURS = 12;
const PAUSE = 60; // milliseconds without a change of the code

export class NeighboursSection {
  readonly element: HTMLElement;
  #app: App;
  #grid = h("div", { className: "neighbours" });
  #asked = 0;
  #later = 0;

  constructor(app: App) {
    this.#app = app;
    this.element = h("section", {}, h("h3", {}, "Nearest in the data"), this.#grid,
      h("div", { className: "row" }, button("Select these", () => this.#select(this.#near())), button("Select 200 nearest", () => this.#select(nearest(...this.#here(), 200)))));
  }

  /** Something else is pinned: those of what was pinned before are not its own. */
  open(): void {
    this.#grid.replaceChildren();
  }

  update(): void {
    busy(this.#grid, true);
    clearTimeout(this.#later);
    this.#later = window.setTimeout(() => void this.#show(), PAUSE);
  }

  #here(): [codes: Float32Array, d: number, code: Float32Array] {
    const { view } = this.#app.pin!;
    return [view.codes, view.run.state.latent_dim, this.#app.pinned()];
  }

  #near(): { id: number; distance: number }[] {
    const { pin } = this.#app;
    return nearest(...this.#here(), NEIGHBOURS + 1).filter(({ id }) => id !== pin!.id).slice(0, NEIGHBOURS);
  }

  #select(chosen: { id: number }[]): void {
    this.#app.select(chosen.map(({ id }) => id).sort((a, b) => a - b));
  }

  async #show(): Promise<void> {
    const { pin } = this.#app;
    if (!pin) return;
    const { view } = pin;
    const asked = ++this.#asked;
    const near = this.#near();
    busy(this.#grid, true);
    const originals = await this.#app.attempt(() => this.#app.examples.get(view)!.get(near.map(({ id }) => id)));
    if (this.#app.pin !== pin || asked !== this.#asked) return;
    busy(this.#grid, false);
    if (!originals) {
      this.#grid.replaceChildren(h("p", { className: "facts" }, "They did not come. ", askAgain(() => void this.#show())));
      return;
    }
    this.#grid.replaceChildren(...near.map(({ id, distance }, k) => {
      const canvas = h("canvas", { width: 1, height: 1, "aria-hidden": "true" });
      canvas.style.aspectRatio = String(view.artist.aspect);
      view.artist.show(canvas, originals[k]);
      const of = this.#app.classOf(id);
      const title = `Example ${id}${of ? `, ${of}` : ""}, at a distance of ${short(distance)}`;
      const act = () => {
        const code = this.#app.codeOf(view, id);
        this.#app.setPin({ view, start: code, code: code.slice(), id, own: null, title: "", strengths: new Map() });
      };
      return h("button", { type: "button", className: "thumb", title, "aria-label": `Pin ${title}`, onclick: act }, canvas, of && h("span", {}, of));
    }));
  }
}
