/** Colours of points: one for each class, or a ramp for numbers. The class colours are those of diabolo's figures. */

const CLASSES = {
  light: ["#2953f5", "#f06763", "#5e0f5c", "#116602", "#a09306", "#c47491", "#7c67ab", "#570092", "#1e94fa", "#69142b"],
  dark: ["#3857f5", "#f2290b", "#a737af", "#5cecc0", "#dbd47b", "#c64883", "#bed4ff", "#ffbe16", "#09a1ff", "#c5313d"],
};

/** Seven stops of viridis (van der Walt and Smith 2015). */
const RAMP = ["#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725"];

export type Theme = "light" | "dark";
export type Rgb = [number, number, number];

export function rgb(hex: string): Rgb {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as Rgb;
}

/** The colour of class k; after ten of them, further hues. */
export function classColour(theme: Theme, k: number): string {
  if (k < 10) return CLASSES[theme][k];
  const hue = (k * 137.508) % 360;
  return hslHex(hue, 0.6, theme === "dark" ? 0.65 : 0.42);
}

function hslHex(hue: number, saturation: number, lightness: number): string {
  const part = (n: number) => {
    const k = (n + hue / 30) % 12;
    const value = lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(255 * value).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(8)}${part(4)}`;
}

/** The ramp's colour at 0 to 1; the end that is like the ground is left out. */
export function rampColour(theme: Theme, t: number): Rgb {
  const [low, high] = theme === "dark" ? [0.2, 1] : [0, 0.85];
  const at = (low + (high - low) * Math.max(0, Math.min(1, t))) * (RAMP.length - 1);
  const [a, b] = [rgb(RAMP[Math.floor(at)]), rgb(RAMP[Math.ceil(at)])];
  return a.map((value, c) => Math.round(value + (b[c] - value) * (at % 1))) as Rgb;
}

/** What a column looks like: a colour for each row, and the words of its legend. */
export interface Colouring {
  name: string;
  kind: "category" | "number" | "none";
  categories: { index: number; text: string; colour: string; count: number }[];
  range: [number, number];
  of(row: number): Rgb;
  category(row: number): number;
}

export function colouring(theme: Theme, name: string, values: ArrayLike<number> | null, categories: string[] | null): Colouring {
  const nothing = rgb(theme === "dark" ? "#9aa4af" : "#57606a");
  if (!values) return { name, kind: "none", categories: [], range: [0, 1], of: () => rgb(classColour(theme, 8)), category: () => -1 };
  if (categories) {
    const colours = categories.map((_, k) => rgb(classColour(theme, k)));
    const counts = new Array<number>(categories.length).fill(0);
    for (let i = 0; i < values.length; i++) if (values[i] in counts) counts[values[i]]++;
    return {
      name,
      kind: "category",
      categories: categories.map((text, index) => ({ index, text, colour: classColour(theme, index), count: counts[index] })),
      range: [0, 1],
      of: (row) => colours[values[row]] ?? nothing,
      category: (row) => values[row],
    };
  }
  const step = Math.max(1, Math.floor(values.length / 50000));
  const some = Float64Array.from({ length: Math.ceil(values.length / step) }, (_, i) => values[i * step]).filter(Number.isFinite).sort();
  const [low, high] = some.length ? [some[Math.floor(0.01 * some.length)], some[Math.floor(0.99 * (some.length - 1))]] : [0, 1];
  const stops = Array.from({ length: 256 }, (_, i) => rampColour(theme, i / 255));
  return {
    name,
    kind: "number",
    categories: [],
    range: [low, high],
    of: (row) => (Number.isFinite(values[row]) ? stops[Math.round(255 * Math.max(0, Math.min(1, (values[row] - low) / (high - low || 1))))] : nothing),
    category: () => -1,
  };
}
