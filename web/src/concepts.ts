/** Directions learned from two groups; each is a slider for whatever is pinned. */

import type { App, Group } from "./app";
import { button, choice, count, h, icon, savePng, say, short } from "./dom";
import { Frame } from "./frame";
import { rowOf } from "./picture";
import type { Concept } from "./run";

const FAR = 6; // strengths of a slider, in standard deviations
const STEPS = 7; // pictures of a strip

export class ConceptsPanel {
  readonly element = h("div", { className: "panel" });
  #app: App;
  #from = "";
  #to = "";
  #name = h("input", { type: "text", maxLength: 32, spellcheck: false, autocomplete: "off", "aria-label": "Name of the concept" });
  #form = h("div", {});
  #list = h("div", { className: "concepts" });
  #hint = h("p", { className: "facts" });
  #inputs = new Map<string, { input: HTMLInputElement; output: HTMLElement }>();
  #before = new Frame("As pinned");
  #after = new Frame("With the concepts");
  #pair = h("div", { className: "pair large" }, this.#before.figure, this.#after.figure);
  #start: Float32Array | null = null;

  constructor(app: App) {
    this.#app = app;
    this.element.append(h("h2", { className: "unseen" }, "Concepts"), this.#pair, this.#list, this.#hint, h("section", {}, h("h3", {}, "Learn a concept"), this.#form));
    app.on(["concepts"], () => this.#build());
    app.on(["selection"], () => this.#buildForm());
    app.on(["pin", "code", "tab"], () => this.#update());
    app.on(["label"], () => (this.#start = null));
    app.on(["decoded", "tab"], () => this.#compare());
    this.#name.addEventListener("keydown", (event) => event.key === "Enter" && void this.#learn());
    const classes = app.main.run.state.classes;
    if (classes.length === 2) [this.#from, this.#to] = ["class 0", "class 1"];
    this.#build();
  }

  /** What can be chosen: classes, kept selections, all others. */
  #groups(): Map<string, Group> {
    const found = new Map<string, Group>();
    const { classes } = this.#app.main.run.state;
    const values = this.#app.columns.get("class");
    if (values) classes.forEach((name, k) => found.set(`class ${k}`, { name, ids: [] }));
    this.#app.groups.forEach((group, k) => found.set(`group ${k}`, group));
    return found;
  }

  #idsOf(key: string, other: string): number[] {
    const group = this.#groups().get(key);
    const values = this.#app.columns.get("class");
    if (key.startsWith("class") && values) {
      const k = Number(key.slice(6));
      return Array.from({ length: values.length }, (_, i) => i).filter((i) => values[i] === k);
    }
    if (group) return group.ids;
    const taken = new Set(this.#idsOf(other, ""));
    return Array.from({ length: this.#app.main.run.state.count }, (_, i) => i).filter((i) => !taken.has(i));
  }

  #build(): void {
    this.#buildForm();
    this.#inputs.clear();
    this.#list.replaceChildren(...this.#app.concepts.map((concept) => this.#entry(concept)));
    this.#update();
  }

  #buildForm(): void {
    const groups = this.#groups();
    const options: [string, string][] = [...groups].map(([key, group]) => [key, group.ids.length ? `${group.name} (${group.ids.length.toLocaleString("en")})` : group.name]);
    if (!options.length) {
      this.#form.replaceChildren(h("p", { className: "facts" }, "Select two groups with the lasso (hold Shift and draw), and keep each as a group: the direction from one to the other is the concept."));
      return;
    }
    if (!groups.has(this.#to)) this.#to = options[options.length - 1][0];
    if (this.#from !== "rest" && !groups.has(this.#from)) this.#from = options.length > 1 ? options[0][0] : "rest";
    const rest: [string, string] = ["rest", "all others"];
    const suggested = groups.get(this.#to)!.name.toLowerCase().replace(/[^a-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "") || "concept";
    if (!this.#name.value || this.#name.dataset.made === this.#name.value) this.#name.value = this.#name.dataset.made = suggested;
    this.#form.replaceChildren(
      h("div", { className: "row" },
        choice("From", [rest, ...options], this.#from, (value) => {
          this.#from = value;
          this.#buildForm();
        }),
        choice("to", options, this.#to, (value) => {
          this.#to = value;
          this.#buildForm();
        })),
      h("div", { className: "row" }, h("label", { className: "choice" }, h("span", {}, "Name"), this.#name), button("Learn", () => void this.#learn(), { className: "first" })),
    );
  }

  async #learn(): Promise<void> {
    const name = this.#name.value.trim();
    const groups = this.#groups();
    const known = this.#app.concepts.some((one) => one.name === name);
    if (known && !confirm(`Replace the concept ${name}?`)) return;
    const made = await this.#app.attempt(() => this.#app.main.run.learn({
      name,
      positive: this.#idsOf(this.#to, this.#from),
      negative: this.#idsOf(this.#from, this.#to),
      positive_name: groups.get(this.#to)?.name ?? "others",
      negative_name: groups.get(this.#from)?.name ?? "others",
      replace: known,
    }));
    if (!made) return;
    this.#app.concepts = [...this.#app.concepts.filter((one) => one.name !== made.name), made];
    this.#app.emit("concepts");
    say(`Learned ${made.name}. It separates ${short(100 * made.auc)}% of pairs rightly.`);
    this.#inputs.get(made.name)?.input.focus();
  }

  #entry(concept: Concept): HTMLElement {
    const output = h("output", {}, "0");
    const input = h("input", {
      type: "range", min: String(-FAR), max: String(FAR), step: "0.1", value: "0", "aria-label": `Strength of ${concept.name}`,
      oninput: () => this.#apply(concept.name, Number(input.value)),
    });
    this.#inputs.set(concept.name, { input, output });
    const [more, fewer] = concept.counts;
    const interval = Number.isFinite(concept.auc_low) ? ` (95% interval ${short(concept.auc_low)} to ${short(concept.auc_high)})` : "";
    const text = `${concept.negative} (${fewer.toLocaleString("en")}) → ${concept.positive} (${more.toLocaleString("en")}). ` +
      `Tells ${short(100 * concept.auc)}% of pairs apart rightly${interval}; the groups lie ${short(concept.gap)} standard deviations apart.`;
    const reset = h("button", { type: "button", className: "tool small", "aria-label": `Reset ${concept.name}`, title: "Reset", onclick: () => this.#apply(concept.name, 0) }, icon("reset"));
    const remove = h("button", { type: "button", className: "tool small", "aria-label": `Forget ${concept.name}`, title: concept.saved ? "Forget, also in the run" : "Forget", onclick: () => void this.#forget(concept) }, icon("close"));
    const where = concept.saved ? "Saved with the run." : "Kept while this page is open.";
    return h("article", {}, h("div", { className: "title" }, h("h3", {}, concept.name), remove), h("div", { className: "slider wide" }, input, output, reset), h("p", { className: "facts" }, text, " ", where),
      h("div", { className: "row" }, button("Save strip (PNG)", () => void this.#saveStrip(concept), { title: `From ${-FAR / 2} to ${FAR / 2} standard deviations` })));
  }

  #apply(name: string, strength: number): void {
    const { pin } = this.#app;
    if (!pin) return;
    pin.strengths.set(name, strength);
    this.#app.recode();
  }

  /** What was pinned, beside what the concepts made of it. */
  #compare(): void {
    const { pin, picture: values } = this.#app;
    this.#pair.hidden = !pin || pin.view !== this.#app.main || !values;
    if (this.#pair.hidden || !pin || this.#app.tab !== "concepts") return;
    const { view } = pin;
    for (const { canvas } of [this.#before, this.#after]) canvas.style.aspectRatio = String(view.artist.aspect);
    this.#after.show(view.artist, values!, "With the concepts");
    if (this.#start?.every((value, i) => value === pin.code[i])) return;
    void this.#decode(pin.code.slice());
  }

  async #decode(code: Float32Array): Promise<void> {
    const { view } = this.#app.pin!;
    this.#start = code;
    this.#before.wait(view.artist, true);
    const array = await this.#app.attempt(() => view.run.decode(code, 1));
    if (this.#start !== code) return;
    if (array) this.#before.show(view.artist, rowOf(view.run.state, array, 0), "As pinned");
    else this.#before.fail(view.artist, "It did not come.", () => this.#app.pin && void this.#decode(this.#app.pin.code.slice()));
  }

  /** The pinned picture from less of a concept to more of it, as one PNG. */
  async #saveStrip(concept: Concept): Promise<void> {
    const { pin } = this.#app;
    if (!pin) return;
    const { view } = pin;
    const from = this.#app.pinned();
    const now = pin.strengths.get(concept.name) ?? 0;
    const codes = new Float32Array(STEPS * from.length);
    for (let k = 0; k < STEPS; k++) {
      const strength = (-FAR / 2 + (k * FAR) / (STEPS - 1) - now) * concept.unit;
      codes.set(from.map((value, i) => value + strength * concept.direction[i]), k * from.length);
    }
    const array = await this.#app.attempt(() => view.run.decode(codes, STEPS));
    if (!array) return;
    const [width, height] = view.artist.size;
    const strip = h("canvas", { width: STEPS * (width + 2) - 2, height });
    for (let k = 0; k < STEPS; k++) strip.getContext("2d")!.drawImage(view.artist.picture(rowOf(view.run.state, array, k)), k * (width + 2), 0);
    savePng(strip, `${view.run.state.name}-${concept.name}.png`, 900);
  }

  async #forget(concept: Concept): Promise<void> {
    if (concept.saved && !confirm(`Remove the concept ${concept.name} from the run?`)) return;
    const done = await this.#app.attempt(async () => {
      await this.#app.main.run.forget(concept.name);
      return true;
    });
    if (!done) return;
    this.#app.pin?.strengths.delete(concept.name);
    this.#app.concepts = this.#app.concepts.filter((one) => one !== concept);
    this.#app.emit("concepts");
    if (this.#app.pin) this.#app.recode();
  }

  #update(): void {
    const { pin, concepts } = this.#app;
    const usable = pin !== null && pin.view === this.#app.main;
    for (const [name, { input, output }] of this.#inputs) {
      const strength = pin?.strengths.get(name) ?? 0;
      input.disabled = !usable;
      if (Number(input.value) !== strength) input.value = String(strength);
      output.textContent = `${strength > 0 ? "+" : ""}${short(strength)} σ`;
    }
    this.#hint.textContent = !concepts.length ? "A concept is a direction in the code, such as from neutral faces to smiling ones. Learn one from two classes, or from two groups that you draw on the map."
      : usable ? "" : "Pin something on the map: then the sliders change it.";
  }
}

/** What to do with a selection, on the map. */
export class SelectionBar {
  readonly element = h("div", { className: "selection", hidden: true, role: "group", "aria-label": "The selection" });
  #app: App;
  #saveAll: (kind: "csv" | "npz") => void;

  constructor(app: App, saveAll: (kind: "csv" | "npz") => void) {
    this.#app = app;
    this.#saveAll = saveAll;
    app.on(["selection"], () => this.#show());
  }

  #show(): void {
    const { selection } = this.#app;
    this.element.hidden = selection.length === 0;
    if (!selection.length) return;
    this.element.replaceChildren(
      h("strong", {}, count(selection.length, "example")),
      button("Keep as a group", () => this.#keep()),
      button("CSV", () => this.#saveAll("csv"), { "aria-label": "Save the selection as CSV" }),
      button("NPZ", () => this.#saveAll("npz"), { "aria-label": "Save the selection as NPZ" }),
      button("Clear", () => this.#app.select([])),
    );
  }

  #keep(): void {
    const name = `group ${this.#app.groups.length + 1}`;
    this.#app.groups.push({ name, ids: this.#app.selection });
    this.#app.select([]);
    this.#app.show("concepts");
    const again = this.#app.groups.length === 1 ? " Select another, or learn it against all others." : "";
    document.dispatchEvent(new CustomEvent("diabolo:note", { detail: `Kept as ${name}.${again}` }));
    this.#app.emit("selection");
  }
}
