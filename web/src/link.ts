/** The view in the address: a link, or a reload, brings back what was seen. */

import type { App, Pin } from "./app";

export function describe(app: App): string {
  const { camera, plane } = app.main;
  const parts = new URLSearchParams();
  parts.set("at", [camera.x, camera.y, camera.depth].map((value) => Number(value.toPrecision(9))).join(","));
  parts.set("plane", plane.key);
  parts.set("colour", app.colour);
  parts.set("tab", app.tab);
  const [told] = app.told;
  if (told?.label != null) parts.set("class", told.label);
  if (app.hidden.size) parts.set("hidden", [...app.hidden].join(","));
  if (!app.main.pointsShown) parts.set("points", "off");
  if (!app.main.mosaic.visible) parts.set("mosaic", "off");
  if (app.samples) parts.set("seed", String(app.samples.seed));
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

export async function restore(app: App, hash: string): Promise<void> {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const numbers = (name: string) => (parts.get(name) ?? "").split(",").filter(Boolean).map(Number);
  const view = parts.get("run") === "1" ? (app.views[1] ?? app.main) : app.main;
  const d = view.run.state.latent_dim;
  const plane = parts.get("plane");
  const isKnown = plane && (/^(pca|\d+,\d+)$/.test(plane) || app.main.run.state.layouts.some(({ name }) => plane === `layout:${name}`));
  if (isKnown && plane !== app.main.plane.key) await app.setPlane(plane);
  const [x, y, depth] = numbers("at");
  if ([x, y, depth].every(Number.isFinite) && depth > 0) {
    Object.assign(app.main.camera, { x, y, depth });
    app.main.redraw();
  }
  if (parts.get("points") === "off") for (const one of app.views) one.pointsShown = false;
  if (parts.get("mosaic") === "off") for (const one of app.views) one.mosaic.visible = false;
  const colour = parts.get("colour");
  const known = ["", ...app.main.run.state.columns.map(({ name }) => name)];
  if (colour !== null && colour !== app.colour && (known.includes(colour) || /^code \d+$/.test(colour))) await app.setColour(colour);
  const [label, told] = [parts.get("class"), app.told];
  if (label !== null && label !== told[0]?.label && told[0]?.state.label_classes.includes(label)) await app.setLabel(label);
  const hidden = numbers("hidden").filter(Number.isInteger);
  if (hidden.length) {
    hidden.forEach((index) => app.hidden.add(index));
    app.paint();
    app.emit("colour");
  }
  const id = Number(parts.get("example") ?? NaN);
  const start = Number.isInteger(id) && id >= 0 && id < view.run.state.count ? app.codeOf(view, id) : unpack(parts.get("start"), d);
  if (start) {
    const strengths = new Map((parts.get("concepts") ?? "").split(",").filter(Boolean).map((part) => [part.split(":")[0], Number(part.split(":")[1]) || 0]));
    app.setPin({ view, start, code: unpack(parts.get("code"), d) ?? start.slice(), id: Number.isInteger(id) ? id : null, own: null, title: "", strengths });
  }
  const ends = (parts.get("path") ?? "").split(".").map((part) => unpack(part, app.main.run.state.latent_dim));
  if (ends.length === 2 && ends[0] && ends[1]) {
    app.walk(app.main, ends[0], ends[1]);
    if (parts.has("arc")) {
      app.path!.round = true;
      app.emit("path");
    }
  }
  const tab = parts.get("tab");
  if (tab && /^[a-z]+$/.test(tab)) app.show(tab);
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
