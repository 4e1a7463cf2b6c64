/** The frame of the page: bars, legend, tabs, help, notes. */

import type { App } from "./app";
import type { Theme } from "./colour";
import { choice, count, h, icon, say, short, tool } from "./dom";
import { Legend } from "./legend";
import { copyLink } from "./link";
import { dimension, moments } from "./latent";
import type { Tool } from "./map";
import { Trouble, type Run } from "./run";

export interface Furniture {
  lens: HTMLElement;
  tabs: [key: string, name: string, panel: HTMLElement][];
  selection: HTMLElement;
  open: (file: File) => void;
  saveView: () => void;
  nextSamples: () => void;
}

const KEYS: [string, string][] = [
  ["Move the pointer", "see what the model makes of that spot"],
  ["Click", "pin it: its picture, code and neighbours"],
  ["Drag, scroll or pinch", "move and zoom; the ground is decoded again, finer"],
  ["Shift and drag, or L", "draw round examples to select them"],
  ["P", "draw a path; V goes back to moving"],
  ["S", "samples from the prior, each time with the next seed"],
  ["O", "open a picture of your own (or drop it on the page, or paste it)"],
  ["Arrows on the map", "move a cursor; with Shift in larger steps"],
  ["Enter on the map", "pin what is under the cursor"],
  ["N on the map", "go to the nearest example"],
  ["+ and −, 0", "zoom; show everything"],
  ["M, X", "hide or show the mosaic, the points"],
  ["Ctrl and Z, with Shift", "undo, redo; as back and forward do"],
  ["Escape", "clear the selection, take the pin off"],
  ["?", "this help"],
];

export class Chrome {
  theme: Theme;
  #maps: HTMLElement;
  #notes = h("div", { className: "notes" });
  #root: HTMLElement;
  #app: App | null = null;

  constructor() {
    const kept = stored("diabolo-theme");
    this.theme = kept === "light" || kept === "dark" ? kept : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.documentElement.dataset.theme = this.theme;
    this.#root = document.getElementById("page")!;
    this.#maps = this.#root.querySelector(".maps")!;
    document.body.append(this.#notes);
    document.addEventListener("diabolo:note", (event) => this.note((event as CustomEvent<string>).detail));
    document.addEventListener("diabolo:own", (event) => this.note("Is it light on dark where the data is dark on light, or the other way round?", (event as CustomEvent<HTMLElement>).detail));
  }

  /** The box of a run's map. */
  map(run: Run, named: boolean): HTMLElement {
    const label = `Map of ${run.state.name}: ${count(run.state.count, "example")}. Arrow keys move a cursor, Enter pins, plus and minus zoom, N goes to the nearest example.`;
    const box = h("div", { className: "map", tabIndex: 0, role: "application", "aria-label": label });
    if (named) box.append(h("div", { className: "map-name" }, run.state.name));
    this.#maps.querySelector(".waiting")?.remove();
    this.#maps.append(box);
    return box;
  }

  note(words: string, act?: HTMLElement, level = ""): void {
    for (const old of this.#notes.children) if ((old as HTMLElement).dataset.words === words) old.remove();
    const close = h("button", { type: "button", className: "tool small", "aria-label": "Close", onclick: () => made.remove() }, icon("close"));
    const made = h("div", { className: `note ${level}`, role: level ? "alert" : "status", "data-words": words }, h("span", {}, words), act, close);
    act?.addEventListener("click", () => made.remove());
    this.#notes.append(made);
    while (this.#notes.children.length > 3) this.#notes.firstElementChild!.remove();
    if (!level) setTimeout(() => made.remove(), act ? 15_000 : 7_000);
  }

  trouble(error: unknown): void {
    const words = error instanceof Trouble ? error.message : `Something went wrong on this page: ${error instanceof Error ? error.message : String(error)}`;
    this.note(words, undefined, "bad");
    const waiting = this.#maps.querySelector(".waiting");
    if (waiting) waiting.textContent = words;
  }

  furnish(app: App, parts: Furniture): void {
    this.#app = app;
    const { state, limits } = app.main.run;
    const header = this.#root.querySelector("header")!;
    const file = h("input", {
      type: "file", accept: state.display.kind === "image" ? "image/*,.npy" : ".npy", hidden: true, "aria-label": "A file of your own",
      onchange: () => {
        if (file.files?.[0]) parts.open(file.files[0]);
        file.value = "";
      },
    });
    header.replaceChildren(
      h("div", { className: "brand" }, h("h1", {}, app.views.map(({ run }) => run.state.name).join(" and ")), h("p", { title: state.variant ?? "" }, this.#about(app))),
      h("div", { className: "bar", role: "toolbar", "aria-label": "Map" }, ...this.#choices(app)),
      h("div", { className: "bar", role: "toolbar", "aria-label": "Tools" },
        ...this.#tools(app),
        tool("sample", "Samples from the prior", "S", parts.nextSamples),
        tool("image", "Open a picture of your own", "O", () => file.click()), file,
        tool("save", "Save the map as a picture", "", parts.saveView),
        tool("link", "Copy a link to this view", "", () => void copyLink()),
        tool("theme", "Light or dark", "", () => this.#switch()),
        tool("help", "Help", "?", () => this.#help(limits))),
    );
    const aside = this.#root.querySelector("aside")!;
    aside.replaceChildren(parts.lens, ...this.#tabs(app, parts.tabs));
    const legend = new Legend(app).element;
    new ResizeObserver(() => this.#maps.style.setProperty("--legend", `${legend.offsetHeight}px`)).observe(legend);
    this.#maps.append(this.#zoom(app), legend, parts.selection, this.#hint());
    this.#shortcuts(app, parts, () => file.click(), limits);
    this.#drops(parts.open);
    if (limits) this.note(limits);
  }

  #about(app: App): string {
    const { state } = app.main.run;
    const { total, name } = state.data;
    return `${state.summary} · ${state.count < total ? `${state.count.toLocaleString("en")} of ${count(total, "example")}` : count(total, "example")}${state.summary.includes(name) ? "" : ` of ${name}`}`;
  }

  #choices(app: App): HTMLElement[] {
    const { state } = app.main.run;
    const d = state.latent_dim;
    const dims: [string, string][] = Array.from({ length: d }, (_, i) => [String(i), dimension(i)]);
    const colours: [string, string][] = [["", "one colour"], ...state.columns.map(({ name }): [string, string] => [name, name]), ...dims.slice(0, 256).map(([, name]): [string, string] => [name, name]).filter(([name]) => !state.columns.some((column) => column.name === name))];
    const label = this.#classes(app);
    const colour = choice("Colour", colours, app.colour, (name) => void app.setColour(name));
    app.on(["colour"], () => (colour.querySelector("select")!.value = app.colour));
    const layouts = state.layouts.map(({ name }): [string, string] => [`layout:${name}`, name]);
    if (d <= 2 && !layouts.length) return [...label, colour];
    const spread = moments(app.main.codes, d).variance;
    let [i, j] = dims.map(([key]) => key).sort((a, b) => spread[Number(b)] - spread[Number(a)]); // which vary most
    const pick = () => void app.setPlane(d <= 2 ? "0,1" : i === j ? `${i},${(Number(i) + 1) % d}` : `${i},${j}`);
    const own: [string, string][] = d <= 2 ? [["dims", "the code"]] : [["pca", "principal components"], ["dims", "two numbers of the code"]];
    const plane = choice("Plane", [...own, ...layouts], own[0][0], (value) => (value === "dims" ? pick() : void app.setPlane(value)));
    const across = choice("across", dims, i, (value) => {
      i = value;
      pick();
    });
    const up = choice("up", dims, j, (value) => {
      j = value;
      pick();
    });
    const follow = () => {
      const { key, placed, shares = [] } = app.main.plane;
      const isAxes = key !== "pca" && !placed;
      plane.querySelector("select")!.value = isAxes ? "dims" : key;
      across.hidden = up.hidden = !isAxes || d <= 2;
      if (isAxes) [i, j] = key.split(",");
      across.querySelector("select")!.value = i;
      up.querySelector("select")!.value = j;
      plane.title = placed ? "Placed by a layout: between the points lies nothing" : `${short(100 * shares.reduce((a, b) => a + b, 0), 2)}% of the codes' variance lies in this plane`;
    };
    app.on(["plane"], follow);
    follow();
    return [...label, colour, plane, across, up];
  }

  /** The class that everything is decoded as, where a model takes one. */
  #classes(app: App): HTMLElement[] {
    const [run] = app.told;
    if (!run) return [];
    const names = run.state.label_classes.map((name): [string, string] => [`=${name}`, name]);
    const all: [string, string][] = run.state.labels === "partial" ? [["", "unknown"], ...names] : names;
    const key = () => (run.label === null ? "" : `=${run.label}`);
    const made = choice("Class", all, key(), (value) => void app.setLabel(value ? value.slice(1) : null));
    made.title = "What everything here is decoded as";
    app.on(["label"], () => (made.querySelector("select")!.value = key()));
    return [made];
  }

  #tools(app: App): HTMLElement[] {
    const made = ([["move", "Move", "V"], ["lasso", "Select with the lasso", "L"], ["path", "Draw a path", "P"]] as [Tool, string, string][]).map(([name, label, key]) => {
      const one = tool(name, label, key, () => app.setTool(name));
      app.on(["tool"], () => one.setAttribute("aria-pressed", String(app.tool === name)));
      one.setAttribute("aria-pressed", String(app.tool === name));
      return one;
    });
    return made;
  }

  #zoom(app: App): HTMLElement {
    const toggle = (name: "mosaic" | "points", label: string, key: string) => {
      const one = tool(name, label, key, () => this.#toggle(app, name));
      const follow = () => one.setAttribute("aria-pressed", String(name === "mosaic" ? app.main.mosaic.visible : app.main.pointsShown));
      app.on(["layers"], follow);
      follow();
      return one;
    };
    const each = (act: (view: App["main"]) => void) => () => app.views.forEach(act);
    return h("div", { className: "zoom", role: "toolbar", "aria-label": "View" },
      tool("plus", "Zoom in", "+", each((view) => view.zoomBy(1.5))), tool("minus", "Zoom out", "−", each((view) => view.zoomBy(1 / 1.5))), tool("fit", "Show everything", "0", each((view) => view.home())),
      toggle("mosaic", "The decoded mosaic", "M"), toggle("points", "The points", "X"));
  }

  #toggle(app: App, what: "mosaic" | "points"): void {
    for (const view of app.views) {
      if (what === "mosaic") view.mosaic.visible = !view.mosaic.visible;
      else view.pointsShown = !view.pointsShown;
      view.redraw();
    }
    app.emit("layers");
  }

  #hint(): HTMLElement {
    const words = "Move to decode · click to pin · scroll to zoom · Shift and drag to select";
    const box = h("div", { className: "hint", "aria-hidden": "true" }, words);
    const away = () => box.classList.add("gone");
    this.#maps.addEventListener("pointerdown", away, { once: true });
    this.#maps.addEventListener("wheel", away, { once: true, passive: true });
    return box;
  }

  #tabs(app: App, tabs: Furniture["tabs"]): HTMLElement[] {
    const list = h("div", { className: "tabs", role: "tablist", "aria-label": "Tools for the code" });
    const panels: HTMLElement[] = [];
    const buttons = tabs.map(([key, name, panel], k) => {
      panel.id = `panel-${key}`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", `tab-${key}`);
      panels.push(panel);
      return h("button", {
        type: "button", role: "tab", id: `tab-${key}`, "aria-controls": panel.id, onclick: () => app.show(key),
        onkeydown: (event: KeyboardEvent) => {
          const to = { ArrowRight: k + 1, ArrowLeft: k - 1, Home: 0, End: tabs.length - 1 }[event.key];
          if (to === undefined) return;
          event.preventDefault();
          app.show(tabs[(to + tabs.length) % tabs.length][0]);
          buttons[(to + tabs.length) % tabs.length].focus();
        },
      }, name);
    });
    list.append(...buttons);
    const follow = () => tabs.forEach(([key], k) => {
      const chosen = app.tab === key;
      buttons[k].setAttribute("aria-selected", String(chosen));
      buttons[k].tabIndex = chosen ? 0 : -1;
      panels[k].hidden = !chosen;
    });
    app.on(["tab"], () => {
      follow();
      app.remark();
    });
    follow();
    return [list, ...panels];
  }

  #switch(): void {
    this.theme = this.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("diabolo-theme", this.theme);
    } catch {
      // A page from a disk may keep nothing.
    }
    this.#app?.setTheme(this.theme);
    say(`${this.theme} colours`);
  }

  #help(limits: string): void {
    const old = document.querySelector("dialog");
    if (old) {
      old.close();
      return;
    }
    const dialog = h("dialog", { "aria-labelledby": "help-title", onclose: () => dialog.remove() },
      h("h2", { id: "help-title" }, "What you see, and what you can do"),
      h("p", {}, "Each point is an example of the data, at the place of its code. The pictures behind the points are what the decoder makes of the places between them."),
      h("dl", {}, ...KEYS.flatMap(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])),
      limits ? h("p", {}, limits) : null,
      h("form", { method: "dialog" }, h("button", { className: "first" }, "Close")));
    document.body.append(dialog);
    dialog.showModal();
  }

  #shortcuts(app: App, parts: Furniture, open: () => void, limits: string): void {
    const acts: Record<string, () => void> = {
      v: () => app.setTool("move"), l: () => app.setTool("lasso"), p: () => app.setTool("path"), s: parts.nextSamples, o: open,
      m: () => this.#toggle(app, "mosaic"), x: () => this.#toggle(app, "points"), "?": () => this.#help(limits),
      "+": () => app.views.forEach((view) => view.zoomBy(1.4)), "-": () => app.views.forEach((view) => view.zoomBy(1 / 1.4)), "0": () => app.views.forEach((view) => view.home()),
      Escape: () => {
        if (app.tool !== "move") app.setTool("move");
        else if (app.selection.length) app.select([]);
        else if (app.pin) app.setPin(null);
      },
    };
    document.addEventListener("keydown", (event) => {
      const at = event.target as HTMLElement;
      const typing = at.matches("input:not([type=range]), select, textarea") || document.querySelector("dialog");
      if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
      const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  #drops(open: (file: File) => void): void {
    const over = (on: boolean) => document.documentElement.classList.toggle("dropping", on);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => !event.relatedTarget && over(false));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const file = event.dataTransfer?.files[0];
      if (file) open(file);
      else this.note("Drop a file: an image from your disk.");
    });
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (file) open(file);
    });
  }
}

function stored(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}
