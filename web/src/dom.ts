/** Small things for building a page. */

type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

/** An element: properties, `on…` listeners, attributes (with a dash or unknown to the element), children. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value as EventListener);
    else if (name in made && !name.includes("-")) (made as unknown as Props)[name] = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return made;
}

const ICONS: Record<string, string> = {
  move: "M12 2v20M2 12h20M12 2l-3 3M12 2l3 3M12 22l-3-3M12 22l3-3M2 12l3-3M2 12l3 3M22 12l-3-3M22 12l-3 3",
  lasso: "M7 17c-3-1-5-3.5-5-6.500C2 6 6.500 3 12 3s10 3 10 7.500S17.500 18 12 18c-1 0-2-.1-3-.3M7 17a2 2 0 1 0 2 2c0-1.500-1-2-2-2zM7 21c0 1-1 1.500-2 1.500",
  path: "M5 19c6 0 2-12 8-12h4M5 21a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM19 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  mosaic: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  points: "M6 7h.01M12 5h.01M17 9h.01M8 13h.01M14 14h.01M18 17h.01M11 19h.01M5 18h.01",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  sample: "M5 5h14v14H5zM9 9h.01M15 15h.01M12 12h.01M15 9h.01M9 15h.01",
  save: "M12 4v11M7 11l5 5 5-5M5 20h14",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1",
  theme: "M12 3a9 9 0 1 0 9 9c-1.500 1-5 1.500-7-1s-1.500-6-2-8z",
  help: "M9.500 9a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .8-1 1.700M12 17h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  reset: "M4 4v5h5M4.600 9A8 8 0 1 1 4 13",
  play: "M7 5l12 7-12 7z",
  pause: "M8 5v14M16 5v14",
  close: "M6 6l12 12M18 6L6 18",
};

export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg as SVGSVGElement;
}

/** A button that shows an icon and says in words what it does. */
export function tool(name: string, label: string, key: string, act: () => void): HTMLButtonElement {
  const title = key ? `${label} (${key})` : label;
  const keys = key ? { "aria-keyshortcuts": key } : {};
  return h("button", { type: "button", className: "tool", title, "aria-label": label, ...keys, onclick: act }, icon(name));
}

export function button(label: string, act: () => void, props: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", onclick: act, ...props }, label);
}

/** A select with its name before it. */
export function choice(label: string, options: [value: string, text: string][], value: string, act: (value: string) => void): HTMLLabelElement {
  const select = h("select", { onchange: () => act(select.value) }, ...options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  return h("label", { className: "choice" }, h("span", {}, label), select);
}

let region: HTMLElement | null = null;

/** Says something to a screen reader. */
export function say(words: string): void {
  region ??= document.body.appendChild(h("div", { className: "unseen", role: "status", "aria-live": "polite" }));
  region.textContent = words;
}

export function save(blob: Blob, name: string): void {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A canvas as a PNG, each pixel enlarged to a square so that small pictures can be seen. */
export function savePng(canvas: HTMLCanvasElement, name: string, least = 0): void {
  const factor = Math.max(1, Math.round(least / Math.max(canvas.width, canvas.height)));
  const large = document.createElement("canvas");
  [large.width, large.height] = [canvas.width * factor, canvas.height * factor];
  const context = large.getContext("2d")!;
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, large.width, large.height);
  large.toBlob((blob) => blob && save(blob, name), "image/png");
}

export function short(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return (size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(digits - 1) : value.toLocaleString("en", { maximumSignificantDigits: digits })).replace("-", "−");
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}
