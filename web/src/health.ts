/** How the model is: what its numbers mean in words, its training curves, what each number of the code carries. */

import type { App } from "./app";
import { count, h, short } from "./dom";
import { askAgain } from "./frame";
import { dimension } from "./latent";
import type { Health } from "./run";

const NS = "http://www.w3.org/2000/svg";

export class HealthPanel {
  readonly element = h("div", { className: "panel" }, h("p", { className: "facts" }, "Reading the run…"));
  #app: App;
  #asked = false;

  constructor(app: App) {
    this.#app = app;
    app.on(["tab"], () => app.tab === "health" && void this.#load());
  }

  async #load(): Promise<void> {
    if (this.#asked) return;
    this.#asked = true;
    const parts: HTMLElement[] = [];
    for (const view of this.#app.views) {
      const health = await this.#app.attempt(() => view.run.health());
      if (!health) {
        this.#asked = false;
        this.element.replaceChildren(h("p", { className: "facts" }, "It did not come. ", askAgain(() => void this.#load())));
        return;
      }
      const { state } = view.run;
      parts.push(h("section", { className: "health" }, h("h2", {}, state.name), h("p", { className: "facts", title: state.variant ?? "" }, state.summary), ...body(health)));
    }
    this.element.replaceChildren(...parts);
  }
}

function body(health: Health): HTMLElement[] {
  const parts = health.findings.map(({ level, title, text }) => h("div", { className: `finding is-${level}` }, title ? h("strong", {}, title) : null, ...marked(text)));
  for (const curve of health.curves) parts.push(h("div", {}, chart(curve)));
  const { dimensions } = health;
  if (dimensions.length) {
    const active = dimensions.filter((one) => one.active).length;
    const withKl = dimensions.some((one) => one.kl !== null);
    parts.push(h("div", {}, h("h3", {}, withKl ? "What each dimension carries (KL, nats)" : "How far each dimension spreads (standard deviation)"),
      h("p", { className: "facts" }, `${count(active, "active unit")} of ${dimensions.length.toLocaleString("en")}.`), bars(dimensions.map((one) => one.kl ?? one.spread), dimensions.map((one) => one.active))));
  }
  return parts;
}

/** What stands between backticks is code. */
function marked(text: string): (Node | string)[] {
  return text.split("`").map((part, k) => (k % 2 ? h("code", {}, part) : part));
}

function svg(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const made = document.createElementNS(NS, name) as SVGElement;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function chart({ name, unit, held, epochs, training, validation }: Health["curves"][number]): HTMLElement {
  const [width, height, left, bottom, top] = [340, 130, 46, 18, 8];
  const lines = ([["training", training], ["validation", validation]] as const).filter(([, values]) => values?.some((value) => value !== null));
  const all = lines.flatMap(([, values]) => values!.filter((value): value is number => value !== null && Number.isFinite(value)));
  if (!all.length) return h("figure", {});
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const x = (epoch: number) => left + ((epoch - epochs[0]) / Math.max(1, epochs[epochs.length - 1] - epochs[0])) * (width - left - 8);
  const y = (value: number) => top + (1 - (value - low) / (high - low || 1)) * (height - top - bottom);
  const last = lines.map(([part, values]) => `${part === "training" ? part : held} ${short(values!.filter((value) => value !== null).at(-1)!, 4)}`).join(", ");
  const label = `${name} in ${unit} over ${epochs.length} epochs: ${last}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" });
  for (const value of high > low ? [low, (low + high) / 2, high] : [low]) {
    drawing.append(svg("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: "rule" }), svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const epoch of new Set([epochs[0], epochs[epochs.length - 1]])) drawing.append(svg("text", { x: x(epoch), y: height - 2, "text-anchor": epoch === epochs[0] ? "start" : "end" }, `epoch ${epoch}`));
  for (const [part, values] of lines) {
    const points = epochs.map((epoch, k) => [epoch, values![k]] as const).filter((pair): pair is readonly [number, number] => pair[1] !== null && Number.isFinite(pair[1]));
    drawing.append(svg("polyline", { points: points.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(" "), class: part }));
    if (points.length === 1) drawing.append(svg("circle", { cx: x(points[0][0]), cy: y(points[0][1]), r: 3, class: part }));
  }
  return h("figure", {}, h("figcaption", {}, h("strong", {}, name), ` ${unit}. `, ...lines.map(([part]) => h("span", { className: `key ${part}` }, part === "training" ? part : held))), drawing as unknown as Node);
}

function bars(values: number[], active: boolean[]): HTMLElement {
  const order = values.map((_, k) => k).sort((a, b) => values[b] - values[a]).slice(0, 128);
  const most = Math.max(...values, 1e-9);
  const [width, height] = [340, 70];
  const step = width / order.length;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart", "aria-label": `From ${short(values[order[0]])} for ${dimension(order[0])} to ${short(values[order[order.length - 1]])} for ${dimension(order[order.length - 1])}` });
  order.forEach((k, place) => {
    const tall = Math.max(1, (values[k] / most) * (height - 4));
    const bar = svg("rect", { x: place * step + 0.5, y: height - tall, width: Math.max(1, step - 1), height: tall, class: active[k] ? "bar" : "bar idle" });
    bar.append(svg("title", {}, `${dimension(k)}: ${short(values[k])}`));
    drawing.append(bar);
  });
  const rest = values.length > order.length ? ` (the first ${order.length})` : "";
  return h("figure", {}, drawing as unknown as Node, h("figcaption", {}, `Sorted${rest}; from ${short(values[order[0]])} (${dimension(order[0])}) down to ${short(values[order[order.length - 1]])} (${dimension(order[order.length - 1])}).`));
}
