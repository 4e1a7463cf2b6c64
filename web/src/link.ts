/** The view in the address: a link, a reload, or a step back brings back what was seen. */

import type { App, Pin } from "./app";
import { say } from "./dom";
import { dimensionOf } from "./latent";
import { firstLabel } from "./run";
import { COUNT } from "./samples";

export function describe(app: App): string {
  const parts = new URLSearchParams();
  app.views.forEach(({ camera }, k) => parts.set(k ? `at${k + 1}` : "at", [camera.x, camera.y, camera.depth].map((value) => Number(value.toPrecision(9))).join(",")));
  parts.set("plane", app.main.plane.key);
  parts.set("colour", app.colour);
  parts.set("tab", app.tab);
  const [told] = app.told;
  if (told) parts.set(...((told.label === null ? ["unknown", "1"] : ["class", told.label]) as [string, string]));
  if (app.hidden.size) parts.set("hidden", [...app.hidden].join(","));
  if (!app.main.pointsShown) parts.set("points", "off");
  if (!app.main.mosaic.visible) parts.set("mosaic", "off");
  const seed = app.samples?.seed ?? (app.tab === "samples" && app.main.run.state.prior !== "none" ? 0 : null); // which are on their way
  if (seed !== null) parts.set("seed", String(seed));
  if (app.pin) describePin(app, app.pin, parts);
  if (app.path) {
    parts.set("path", `${pack(app.path.a)}.${pack(app.path.b)}`);
    if (app.path.round) parts.set("arc", "1");
  }
  return `#${parts}`;
}

function describePin(app: App, pin: Pin, parts: URLSearchParams): void {
  if (pin.view !== app.main) parts.set("run", "1");
  if (pin.id !== null) parts.set("example", String(pin.id));
  else parts.set("start", pack(pin.start));
  if (pin.code.some((value, i) => value !== pin.start[i])) parts.set("code", pack(pin.code));
  const strengths = [...pin.strengths].filter(([, strength]) => strength);
  if (strengths.length) parts.set("concepts", strengths.map(([name, strength]) => `${name}:${strength}`).join(","));
}

/** Makes the page show what an address says, and nothing of what it showed before; parts that nothing has are passed over. */
export async function restore(app: App, hash: string, memory: Memory = { selection: [], pin: null }): Promise<void> {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const { state } = app.main.run;
  const plane = parts.get("plane");
  const isKnown = plane && (/^(pca|\d+,\d+)$/.test(plane) || state.layouts.some(({ name }) => plane === `layout:${name}`));
  if (isKnown && plane !== app.main.plane.key) await app.setPlane(plane);
  app.views.forEach((view, k) => {
    const [x, y, depth] = numbers(parts, k ? `at${k + 1}` : "at");
    if ([x, y, depth].every(Number.isFinite) && depth > 0) Object.assign(view.camera, { x, y, depth });
    view.pointsShown = parts.get("points") !== "off";
    view.mosaic.visible = parts.get("mosaic") !== "off";
    view.redraw();
  });
  app.emit("layers");
  const colour = parts.get("colour");
  const known = ["", ...state.columns.map(({ name }) => name)];
  if (colour !== null && colour !== app.colour && (known.includes(colour) || dimensionOf(colour, state.latent_dim) >= 0)) await app.setColour(colour);
  const [told] = app.told;
  const label = parts.has("unknown") ? null : (parts.get("class") ?? (told && firstLabel(told.state)));
  if (told && label !== undefined && label !== told.label && (label === null || told.state.label_classes.includes(label))) await app.setLabel(label);
  const hidden = new Set(numbers(parts, "hidden").filter(Number.isInteger));
  if (hidden.size !== app.hidden.size || [...hidden].some((index) => !app.hidden.has(index))) {
    app.hidden = hidden;
    app.paint();
    app.emit("colour");
  }
  if (memory.selection.length || app.selection.length) app.select(memory.selection);
  restorePin(app, parts, memory.pin);
  restorePath(app, parts);
  await restoreSamples(app, parts.get("seed"));
  const tab = parts.get("tab") ?? "";
  app.show(/^[a-z]+$/.test(tab) ? tab : "pin");
}

function restorePin(app: App, parts: URLSearchParams, kept: Pin | null): void {
  const names = ["run", "example", "start", "code", "concepts"];
  const now = new URLSearchParams();
  if (app.pin) describePin(app, app.pin, now);
  if (names.every((name) => now.get(name) === parts.get(name)) && (app.pin?.own ?? null) === (kept?.own ?? null)) return;
  const view = parts.get("run") === "1" ? (app.views[1] ?? app.main) : app.main;
  const { count, latent_dim: d } = view.run.state;
  const id = Number(parts.get("example") ?? NaN);
  const isExample = Number.isInteger(id) && id >= 0 && id < count;
  const start = isExample ? app.codeOf(view, id) : unpack(parts.get("start"), d);
  if (!start) {
    if (app.pin) app.setPin(null);
    return;
  }
  const strengths = new Map((parts.get("concepts") ?? "").split(",").filter(Boolean).map((part) => {
    const at = part.lastIndexOf(":");
    return [part.slice(0, at), Number(part.slice(at + 1)) || 0];
  }));
  app.setPin({ view, start, code: unpack(parts.get("code"), d) ?? start.slice(), id: isExample ? id : null, own: kept?.own ?? null, title: kept?.title ?? "", strengths });
}

async function restoreSamples(app: App, seed: string | null): Promise<void> {
  if (seed === String(app.samples?.seed)) return;
  if (seed !== null && app.main.run.state.prior !== "none") {
    await app.sample(COUNT, Math.min(app.main.run.seeds - 1, Math.max(0, Math.floor(Number(seed)) || 0)));
  } else if (app.samples) {
    app.samples = null;
    app.emit("samples");
  }
}

function restorePath(app: App, parts: URLSearchParams): void {
  const [a, b] = (parts.get("path") ?? "").split(".").map((part) => unpack(part, app.main.run.state.latent_dim));
  const round = parts.has("arc");
  if (a && b) {
    const is = (code: Float32Array, other: Float32Array | undefined) => pack(code) === (other && pack(other));
    if (is(a, app.path?.a) && is(b, app.path?.b) && app.path?.round === round) return;
    app.walk(app.main, a, b, [null, null], round);
  } else if (app.path) {
    app.path = null;
    app.emit("path");
    app.remark();
  }
}

/** Of a step what no address has: a selection may be of thousands, and a picture of one's own is on this page alone. */
interface Memory {
  selection: number[];
  pin: Pin | null;
}

const PAUSE = 300; // milliseconds without a change, after which what was done is a step

/** The address follows the view. Back and forward, undo and redo, walk through what was done here; moves of the map are no steps. */
export function remember(app: App): void {
  const steps: Memory[] = [];
  let at = 0;
  let timer = 0;
  let isStep = false;
  let restoring = 0;
  let walk = Promise.resolve();
  const put = (link: string) => history[isStep ? "pushState" : "replaceState"]({ at }, "", link);
  const write = () => {
    clearTimeout(timer);
    const [link, before] = [describe(app), steps[at]];
    if (isStep && before && link === location.hash && before.selection === app.selection) isStep = false;
    if (isStep) steps.length = ++at;
    steps[at] = { selection: app.selection, pin: app.pin };
    put(link);
    isStep = false;
  };
  const later = (step: boolean) => () => {
    if (restoring) return;
    isStep ||= step;
    clearTimeout(timer);
    timer = window.setTimeout(write, PAUSE);
  };
  app.on(["view"], later(false));
  app.on(["pin", "code", "plane", "colour", "tab", "samples", "path", "label", "layers", "selection"], later(true));
  document.addEventListener("diabolo:link", write);
  addEventListener("popstate", ({ state }) => {
    clearTimeout(timer);
    isStep = false;
    at = (state as { at: number } | null)?.at ?? at + 1; // without one, an address was typed in
    if (!state) steps.length = at;
    restoring++;
    walk = walk.then(async () => {
      await app.attempt(() => restore(app, location.hash, steps[at]));
      restoring--;
      if (!restoring) write();
    });
  });
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return;
    if ((event.target as HTMLElement).matches("input:not([type=range]), textarea")) return;
    event.preventDefault();
    const isRedo = key === "y" || event.shiftKey;
    if (isStep) write();
    if (isRedo ? at < steps.length - 1 : at > 0) history.go(isRedo ? 1 : -1);
  });
  at = (history.state as { at: number } | null)?.at ?? 0;
  write();
}

function numbers(parts: URLSearchParams, name: string): number[] {
  return (parts.get(name) ?? "").split(",").filter(Boolean).map(Number);
}

/** Copies the address of exactly this view. */
export async function copyLink(): Promise<void> {
  document.dispatchEvent(new CustomEvent("diabolo:link"));
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied");
    document.dispatchEvent(new CustomEvent("diabolo:note", { detail: "The link to this view is copied." }));
  } catch {
    prompt("The link to this view:", location.href);
  }
}

/** float32 numbers in base64url. */
function pack(code: Float32Array): string {
  const bytes = new Uint8Array(code.slice().buffer);
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function unpack(text: string | null, d: number): Float32Array | null {
  if (!text) return null;
  try {
    const bytes = Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const code = bytes.length === 4 * d ? new Float32Array(bytes.buffer) : null;
    return code?.every(Number.isFinite) ? code : null;
  } catch {
    return null;
  }
}
