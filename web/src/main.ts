/** Puts the page together. */

import { App } from "./app";
import { Chrome } from "./chrome";
import { ConceptsPanel, SelectionBar } from "./concepts";
import { save, savePng, say, short } from "./dom";
import { HealthPanel } from "./health";
import { Lens } from "./lens";
import { remember, restore } from "./link";
import { dimension } from "./latent";
import { openLocal } from "./local";
import { writeNpz, type Numbers } from "./npy";
import { openOwn } from "./own";
import { PathPanel } from "./path";
import { PinPanel } from "./pin";
import { Trouble, type Run } from "./run";
import { SamplesPanel } from "./samples";
import { ServerRun } from "./server";

interface Boot {
  mode: "server" | "page" | "site";
  runs: string[];
}

const MOST_SAVED = 5000; // examples whose pictures go into an NPZ

async function open(boot: Boot): Promise<Run[]> {
  if (boot.mode !== "server") return openLocal(boot.mode, boot.runs);
  const token = new URLSearchParams(location.search).get("token") ?? "";
  return Promise.all(boot.runs.map((base) => ServerRun.open(base, token)));
}

async function start(): Promise<void> {
  const boot = JSON.parse(document.getElementById("boot")!.textContent!) as Boot;
  const chrome = new Chrome();
  const app = new App((error) => chrome.trouble(error));
  (globalThis as unknown as { diabolo: App }).diabolo = app;
  try {
    const runs = await open(boot);
    const { state } = runs[0];
    document.documentElement.dataset.kind = state.display.kind;
    document.title = `${state.name} · diabolo`;
    const first = state.columns.find(({ name }) => name === "class")?.name ?? state.columns.find(({ name }) => name === "error")?.name ?? "";
    const [codes] = await Promise.all([Promise.all(runs.map((run) => run.codes())), first ? runs[0].column(first).then((values) => app.columns.set(first, values)) : null]);
    runs.forEach((run, k) => app.add(chrome.map(run, runs.length > 1), run, codes[k]));
    await assemble(app, chrome, first);
  } catch (error) {
    chrome.trouble(error);
    document.documentElement.dataset.state = "failed";
  }
}

async function assemble(app: App, chrome: Chrome, first: string): Promise<void> {
  const sensed = app.sense();
  const samples = new SamplesPanel(app);
  const pin = new PinPanel(app);
  const bar = new SelectionBar(app, (kind) => void saveSelection(app, kind));
  chrome.furnish(app, {
    lens: new Lens(app).element,
    tabs: [["pin", "Pin", pin.element], ["path", "Path", new PathPanel(app).element], ["concepts", "Concepts", new ConceptsPanel(app).element], ["samples", "Samples", samples.element], ["health", "Health", new HealthPanel(app).element]],
    selection: bar.element,
    open: (file) => void openOwn(app, file),
    saveView: () => savePng(app.main.snapshot(app.ground === "dark" ? "#0b0d11" : "#ffffff"), `${app.main.run.state.name}-map.png`),
    nextSamples: () => {
      if (!samples.possible) {
        app.show("samples");
        return;
      }
      const shown = app.tab === "samples";
      app.show("samples");
      if (shown || app.samples) void samples.next();
    },
  });
  await sensed;
  app.setTheme(chrome.theme);
  await app.setColour(first);
  document.documentElement.dataset.state = "ready";
  performance.mark("diabolo:map");
  if (!app.main.points.accelerated) {
    chrome.note(`This browser has no WebGL 2: ${short(app.main.points.shown, 6)} of ${short(app.main.run.state.count, 6)} points are drawn, on a plain canvas.`);
  }
  await restore(app, location.hash);
  remember(app);
  app.concepts = (await app.attempt(() => app.main.run.concepts())) ?? [];
  app.emit("concepts");
  if (app.pin) app.recode();
  for (const column of ["error", "score"]) {
    if (app.main.run.state.columns.some(({ name }) => name === column)) await app.attempt(() => app.load(column));
  }
  app.emit("columns");
  document.documentElement.dataset.state = "complete";
}

async function saveSelection(app: App, kind: "csv" | "npz"): Promise<void> {
  const { selection: ids, main: view } = app;
  const { state } = view.run;
  const d = state.latent_dim;
  const name = `${state.name}-${ids.length}-examples`;
  const columns = state.columns.filter((column) => app.columns.has(column.name));
  const names = state.named ? ((await app.attempt(() => view.run.names(ids))) ?? []) : [];
  if (kind === "csv") {
    const quote = (word: string) => (/[",\n\r]/.test(word) ? `"${word.replace(/"/g, '""')}"` : word);
    const head = ["example", ...(names.length ? ["name"] : []), ...columns.map((column) => column.name), ...Array.from({ length: d }, (_, i) => dimension(i))];
    const lines = ids.map((id, k) => [
      String(id), ...(names.length ? [names[k]] : []),
      ...columns.map((column) => (column.categories ? (column.categories[app.value(column.name, id)] ?? "") : String(app.value(column.name, id)))),
      ...Array.from({ length: d }, (_, i) => String(view.codes[id * d + i])),
    ].map(quote).join(","));
    save(new Blob([[head.map(quote).join(","), ...lines].join("\r\n"), "\r\n"], { type: "text/csv" }), `${name}.csv`);
    return;
  }
  const codes = Float32Array.from({ length: ids.length * d }, (_, at) => view.codes[ids[Math.floor(at / d)] * d + (at % d)]);
  const arrays: Record<string, { shape: number[]; data: Numbers }> = {
    examples: { shape: [ids.length], data: Int32Array.from(ids) },
    codes: { shape: [ids.length, d], data: codes },
  };
  for (const column of columns) {
    const values = ids.map((id) => app.value(column.name, id));
    arrays[column.name.replace(/[^\w-]+/g, "_")] = { shape: [ids.length], data: column.categories ? Int32Array.from(values) : Float32Array.from(values) };
  }
  if (ids.length <= MOST_SAVED) {
    const pictures = await app.attempt(() => app.examples.get(view)!.get(ids));
    if (!pictures) return;
    const size = pictures[0].length;
    const kindOf = pictures[0] instanceof Uint8Array ? Uint8Array : Float32Array;
    const data = new kindOf(size * ids.length);
    pictures.forEach((one, k) => data.set(one, k * size));
    arrays["pictures"] = { shape: [ids.length, ...state.event_shape], data };
  }
  save(writeNpz(arrays), `${name}.npz`);
  say(`Saved ${ids.length} examples`);
}

/** What nothing else has caught is told, too. */
addEventListener("unhandledrejection", (event) => {
  document.dispatchEvent(new CustomEvent("diabolo:note", { detail: event.reason instanceof Trouble ? event.reason.message : `Something went wrong here: ${event.reason}` }));
});

void start();
