/** New pictures from the prior, with the seed that makes them again. */

import type { App } from "./app";
import { button, h, save, savePng, say } from "./dom";
import { busy } from "./frame";
import { writeNpz, type NdArray } from "./npy";
import { rowOf } from "./picture";

export const COUNT = 16;

export class SamplesPanel {
  readonly element = h("div", { className: "panel" });
  #app: App;
  #grid = h("div", { className: "grid" });
  #seed: HTMLInputElement;
  #asked = 0;
  /** The codes whose pictures are shown. */
  #shown: { seed: number; sheet: HTMLCanvasElement; codes: NdArray; pictures: NdArray } | null = null;

  constructor(app: App) {
    this.#app = app;
    const { state, seeds } = app.main.run;
    this.#seed = h("input", { type: "number", min: "0", max: String(seeds - 1), step: "1", value: "0", onchange: () => void this.draw() });
    if (state.prior === "none") {
      this.element.append(h("p", { className: "empty" }, "This model has no prior: nothing says which codes are likely. ", h("code", {}, `diabolo fit-prior ${state.run ?? "RUN"}${state.tokens ? " --kind autoregressive" : ""}`), " learns one from its codes; then open this page again."));
      return;
    }
    const from = state.prior === "own" ? "the model's own prior" : `the prior fitted to its codes (${state.prior})`;
    const advice = state.prior === "own" && state.run ? [" Are they unlike the data? Then its codes do not fill this prior, and ", h("code", {}, `diabolo fit-prior ${state.run} --kind gmm`), " learns one that fits them."] : [];
    this.element.append(
      h("p", { className: "facts" }, `Codes drawn from ${from}, decoded${state.labels === "none" ? "" : " as the class that is chosen above"}. The same seed gives the same pictures.`, ...advice),
      h("div", { className: "row" }, h("label", { className: "choice" }, h("span", {}, "Seed"), this.#seed), button("Draw", () => void this.draw(), { className: "first" }), button("Next seed", () => void this.next(), { title: "S" })),
      this.#grid,
      h("div", { className: "row" }, button("Save pictures (PNG)", () => this.#shown && savePng(this.#shown.sheet, `${state.name}-seed-${this.#shown.seed}.png`, 800)), button("Save codes (NPZ)", () => this.#save())),
    );
    app.on(["samples", "theme"], () => void this.#show());
    app.on(["tab"], () => app.tab === "samples" && !app.samples && void this.draw());
  }

  get possible(): boolean {
    return this.#app.main.run.state.prior !== "none";
  }

  async draw(): Promise<void> {
    if (!this.possible) return;
    const most = this.#app.main.run.seeds;
    const seed = Math.min(most - 1, Math.max(0, Math.floor(Number(this.#seed.value)) || 0));
    this.#seed.value = String(seed);
    busy(this.#grid, true);
    if (!(await this.#app.sample(COUNT, seed))) this.#fail();
  }

  async next(): Promise<void> {
    if (this.#app.samples) this.#seed.value = String((this.#app.samples.seed + 1) % this.#app.main.run.seeds);
    await this.draw();
  }

  async #show(): Promise<void> {
    const { samples } = this.#app;
    const asked = ++this.#asked;
    if (!samples) {
      this.#shown = null;
      this.#grid.replaceChildren();
      return;
    }
    busy(this.#grid, true);
    const { view, codes, seed } = samples;
    this.#seed.value = String(seed);
    const { state } = view.run;
    const n = codes.length / state.latent_dim;
    const array = await this.#app.attempt(() => view.run.decode(codes, n));
    if (asked !== this.#asked) return;
    if (!array) {
      this.#fail();
      return;
    }
    const pictures = Array.from({ length: n }, (_, k) => view.artist.picture(rowOf(state, array, k)));
    this.#shown = { seed, sheet: sheet(pictures), codes: { shape: [n, state.latent_dim], data: codes }, pictures: { shape: [n, ...state.event_shape], data: array.data } };
    busy(this.#grid, false);
    this.#grid.replaceChildren(...pictures.map((canvas, k) => {
      const act = () => {
        const code = codes.slice(k * state.latent_dim, (k + 1) * state.latent_dim);
        this.#app.setPin({ view, start: code, code: code.slice(), id: null, own: null, title: `Sample ${k + 1} of seed ${seed}`, strengths: new Map() });
      };
      canvas.setAttribute("aria-hidden", "true");
      return h("button", { type: "button", className: "thumb", "aria-label": `Pin sample ${k + 1}`, title: "Pin", onclick: act }, canvas);
    }));
    say(`${n} samples of seed ${seed}`);
  }

  #fail(): void {
    this.#shown = null;
    busy(this.#grid, false);
    this.#grid.replaceChildren(h("p", { className: "facts" }, "They did not come: draw again."));
  }

  #save(): void {
    if (!this.#shown) return;
    const { seed, codes, pictures } = this.#shown;
    save(writeNpz({ codes, pictures }), `${this.#app.main.run.state.name}-seed-${seed}.npz`);
  }
}

function sheet(pictures: HTMLCanvasElement[]): HTMLCanvasElement {
  const side = Math.ceil(Math.sqrt(pictures.length));
  const [width, height] = [pictures[0].width, pictures[0].height];
  const made = h("canvas", { width: side * (width + 1) - 1, height: side * (height + 1) - 1 });
  pictures.forEach((one, k) => made.getContext("2d")!.drawImage(one, (k % side) * (width + 1), Math.floor(k / side) * (height + 1)));
  return made;
}
