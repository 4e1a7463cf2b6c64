/** The way between two codes: a film strip and a loop. */

import type { App } from "./app";
import { button, choice, h, icon, save, savePng } from "./dom";
import { askAgain, busy } from "./frame";
import { way } from "./latent";
import { writeNpz, type NdArray } from "./npy";
import { rowOf } from "./picture";

const FRAMES = 12;
const LOOP = 36;
const BEAT = 55; // milliseconds of a frame

export class PathPanel {
  readonly element = h("div", { className: "panel" });
  #app: App;
  #strip = h("canvas", { className: "strip", role: "img", "aria-label": "Film strip of the path" });
  #loop = h("canvas", { className: "loop", role: "img", "aria-label": "The path as a loop", width: 1, height: 1 });
  #play = h("button", { type: "button", className: "tool" });
  #playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  #film: HTMLCanvasElement[] = [];
  #frames: { codes: Float32Array; array: NdArray } | null = null;
  #timer = 0;
  #at = 0;
  #asked = 0;

  constructor(app: App) {
    this.#app = app;
    this.#play.addEventListener("click", () => {
      this.#playing = !this.#playing;
      this.#run();
    });
    app.on(["path", "theme", "label"], () => void this.#build());
    app.on(["tab"], () => this.#run());
    void this.#build();
  }

  async #build(): Promise<void> {
    const { path } = this.#app;
    const asked = ++this.#asked;
    if (!path) {
      this.#film = [];
      const start = button("Draw a path", () => this.#app.setTool("path"));
      const from = button("From the pin to the average code", () => {
        const { pin } = this.#app;
        if (pin) this.#app.walk(pin.view, this.#app.pinned(), pin.view.mean, [pin.id, null]);
        else document.dispatchEvent(new CustomEvent("diabolo:note", { detail: "Pin something first: click the map." }));
      });
      this.element.replaceChildren(h("p", { className: "empty" }, "Draw a path on the map, or click where it starts and where it ends: what lies between is shown as a film."), h("div", { className: "row" }, start, from));
      this.#run();
      return;
    }
    const { view, a, b, round } = path;
    const codes = way(a, b, FRAMES, round);
    busy(this.element, true);
    const array = await this.#app.attempt(() => view.run.decode(codes, FRAMES));
    if (asked !== this.#asked) return;
    busy(this.element, false);
    if (!array) {
      [this.#film, this.#frames] = [[], null];
      this.element.replaceChildren(h("p", { className: "facts" }, "The path did not come. ", askAgain(() => void this.#build())));
      return;
    }
    this.#film = [];
    this.#loop.getContext("2d")!.clearRect(0, 0, this.#loop.width, this.#loop.height);
    this.#frames = { codes, array };
    this.#drawStrip(array);
    this.element.replaceChildren(
      h("div", { className: "title" }, h("h2", {}, "Along the path"), this.#play),
      this.#loop,
      this.#strip,
      h("div", { className: "row" },
        choice("Way", [["line", "straight line"], ["arc", "arc about the origin"]], round ? "arc" : "line", (value) => this.#app.walk(view, a, b, path.ids, value === "arc")),
        button("Turn round", () => this.#app.walk(view, b, a, [path.ids[1], path.ids[0]]))),
      h("div", { className: "row" }, button("Save strip (PNG)", () => savePng(this.#strip, `${view.run.state.name}-path.png`, 1200)), button("Save path (NPZ)", () => this.#save())),
    );
    this.#loop.style.aspectRatio = String(view.artist.aspect);
    const film = await this.#app.attempt(() => view.run.decode(way(a, b, LOOP, round), LOOP));
    if (!film || asked !== this.#asked) return;
    this.#film = Array.from({ length: LOOP }, (_, k) => view.artist.picture(rowOf(view.run.state, film, k)));
    this.#at = 0;
    this.#draw();
    this.#run();
  }

  #drawStrip(array: NdArray): void {
    const { view } = this.#app.path!;
    const [width, height] = view.artist.size;
    const gap = Math.max(1, Math.round(width / 14));
    const columns = 6;
    const rows = FRAMES / columns;
    [this.#strip.width, this.#strip.height] = [columns * (width + gap) - gap, rows * (height + gap) - gap];
    const context = this.#strip.getContext("2d")!;
    for (let k = 0; k < FRAMES; k++) {
      context.drawImage(view.artist.picture(rowOf(view.run.state, array, k)), (k % columns) * (width + gap), Math.floor(k / columns) * (height + gap));
    }
  }

  #run(): void {
    clearInterval(this.#timer);
    const runs = this.#playing && this.#film.length > 0 && this.#app.tab === "path";
    this.#play.replaceChildren(icon(this.#playing ? "pause" : "play"));
    this.#play.setAttribute("aria-label", this.#playing ? "Pause the loop" : "Play the loop");
    this.#play.title = this.#playing ? "Pause" : "Play";
    if (runs) this.#timer = window.setInterval(() => this.#draw(), BEAT);
  }

  /** There and back again, with a rest at both ends. */
  #draw(): void {
    const rest = 6;
    const turn = 2 * (LOOP + rest);
    const at = this.#at++ % turn;
    const k = at < LOOP + rest ? Math.min(LOOP - 1, at) : Math.max(0, LOOP - 1 - (at - LOOP - rest));
    const frame = this.#film[k];
    if (!frame) return;
    if (this.#loop.width !== frame.width || this.#loop.height !== frame.height) [this.#loop.width, this.#loop.height] = [frame.width, frame.height];
    const context = this.#loop.getContext("2d")!;
    context.clearRect(0, 0, frame.width, frame.height);
    context.drawImage(frame, 0, 0);
  }

  #save(): void {
    if (!this.#frames || !this.#app.path) return;
    const { state } = this.#app.path.view.run;
    const { codes, array } = this.#frames;
    const pictures = { shape: [FRAMES, ...state.event_shape], data: array.data };
    save(writeNpz({ codes: { shape: [FRAMES, state.latent_dim], data: codes }, pictures }), `${state.name}-path.npz`);
  }
}
