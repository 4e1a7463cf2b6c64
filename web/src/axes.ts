/** The axes of a map, along its lower and its left edge: ticks with numbers, names, and how much of the code they show. */

import type { Camera } from "./camera";
import { short } from "./dom";
import type { Plane } from "./latent";

const LEFT = 44; // pixels of the strip at the left edge, and
const BELOW = 36; // of the one at the lower edge
const APART = { across: 78, up: 44 }; // pixels between two ticks at least
const LANE = 13; // pixels of a lane that has room for its name
const SMALL = "11px system-ui, sans-serif";
const NAME = "600 11.5px system-ui, sans-serif";

/** Round numbers from low to high, at least a step apart: 1, 2 or 5 times a power of ten. */
export function ticks(low: number, high: number, least: number): { at: number; text: string }[] {
  if (!(high > low) || !(least > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * ([1, 2, 5].find((times) => times * power >= least * (1 - 1e-9)) ?? 10);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const [first, last] = [Math.ceil(low / step - 1e-9), Math.floor(high / step + 1e-9)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => {
    const at = (first + k) * step;
    const size = Math.max(Math.abs(low), Math.abs(high));
    return { at, text: size >= 1e6 || digits > 6 ? short(at, 8) : (at === 0 ? 0 : at).toFixed(digits).replace("-", "−") };
  });
}

/** What an axis is called, and what has to be known to read it. */
export function axisName(plane: Plane, which: 0 | 1, stretch: number): string {
  const name = plane.labels[which];
  const share = plane.shares?.[which];
  if (share !== undefined) return `${name} · ${percent(share)} of the variance`;
  if (which === 0 || plane.lanes || Math.abs(stretch - 1) < 0.005) return name;
  return `${name} · drawn ${short(stretch, 2)} times as long`;
}

function percent(share: number): string {
  return share > 0 && share < 0.01 ? "under 1%" : `${Math.round(100 * share)}%`;
}

export function drawAxes(context: CanvasRenderingContext2D, camera: Camera, plane: Plane, ink: { line: string; under: string }): void {
  const { width, height } = camera;
  const floor = height - BELOW;
  context.save();
  context.globalAlpha = 0.78;
  context.fillStyle = ink.under;
  context.fillRect(0, floor, width, BELOW);
  context.fillRect(0, 0, LEFT, floor);
  context.globalAlpha = 1;
  context.fillStyle = context.strokeStyle = ink.line;
  context.lineWidth = 1;
  context.font = SMALL;
  context.textBaseline = "middle";
  context.textAlign = "center";
  const [low, bottom] = camera.toPlane(LEFT, floor);
  const [high, top] = camera.toPlane(width, 0);
  for (const { at, text } of ticks(low, high, APART.across / camera.scale)) {
    const left = camera.toScreen(at, 0)[0];
    if (left < LEFT + 12 || left > width - 12) continue;
    line(context, left, floor, left, floor + 4);
    context.fillText(text, left, floor + 12);
  }
  context.textAlign = "right";
  if (plane.lanes) drawLanes(context, camera, plane.lanes.names);
  else {
    for (const { at, text } of ticks(bottom, top, APART.up / (camera.scale * camera.stretch))) {
      const up = camera.toScreen(0, at)[1];
      if (up < 12 || up > floor - 10) continue;
      line(context, LEFT - 4, up, LEFT, up);
      context.fillText(text, LEFT - 7, up, LEFT - 8);
    }
  }
  context.font = NAME;
  context.textAlign = "center";
  context.fillText(axisName(plane, 0, camera.stretch), (LEFT + width) / 2, height - 9, width - LEFT - 8);
  context.restore();
  const name = axisName(plane, 1, camera.stretch);
  if (name) drawUp(context, name, floor, ink);
}

/** The name of the axis that goes up, beside its numbers, read from below. */
function drawUp(context: CanvasRenderingContext2D, name: string, floor: number, ink: { line: string; under: string }): void {
  context.save();
  context.translate(LEFT + 9, floor / 2);
  context.rotate(-Math.PI / 2);
  context.font = NAME;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 4;
  context.strokeStyle = ink.under;
  context.fillStyle = ink.line;
  context.strokeText(name, 0, 0, floor - 16);
  context.fillText(name, 0, 0, floor - 16);
  context.restore();
}

/** A line for each class, with its name where there is room. */
function drawLanes(context: CanvasRenderingContext2D, camera: Camera, names: string[]): void {
  const every = Math.max(1, Math.ceil(LANE / (camera.scale * camera.stretch)));
  names.forEach((name, k) => {
    if (k % every) return;
    const up = camera.toScreen(0, names.length - k - 0.5)[1];
    context.globalAlpha = 0.25;
    line(context, LEFT, up, camera.width, up);
    context.globalAlpha = 1;
    context.fillText(shortened(context, name, LEFT - 8), LEFT - 5, up);
  });
}

/** As much of a name as there is room for; an ellipsis says that there is more. */
function shortened(context: CanvasRenderingContext2D, name: string, most: number): string {
  let text = name;
  while (text.length > 1 && context.measureText(text).width > most) text = `${text.replace(/…$/, "").slice(0, -1)}…`;
  return text;
}

function line(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
