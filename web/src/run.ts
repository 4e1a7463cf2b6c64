/** What the page knows of one trained run, and what it can ask of it. */

import type { NdArray } from "./npy";

export interface Display {
  kind: "image" | "signal" | "values";
  height?: number;
  width?: number;
  channels?: number;
  low: number;
  high: number;
  /** The range of each feature of a table. */
  lows?: number[];
  highs?: number[];
}

export interface Column {
  name: string;
  kind: "category" | "number";
  unit?: string;
  categories?: string[];
}

export interface State {
  name: string;
  run?: string;
  diabolo: string;
  event_shape: number[];
  layout: string;
  display: Display;
  latent_dim: number;
  /** (d), or (c, h, w) where codes have places. */
  code_shape: number[];
  /** Whether the model takes a class with each example and each code, of which ones, and its own one. */
  labels: "none" | "partial" | "required";
  label_classes: string[];
  label: string | null;
  /** The names and sizes of the parts of a code, where it has several, such as levels. */
  parts: [name: string, size: number][];
  /** Where a code is written with entries of a codebook. */
  tokens: { positions: number; levels: number; entries: number } | null;
  summary: string;
  variant?: string;
  classes: string[];
  features: string[];
  count: number;
  data: { name: string; total: number; own: boolean; fingerprint?: string };
  columns: Column[];
  /** Layouts of the map beside the page's own planes. */
  layouts: { name: string; labels: [string, string] }[];
  named: boolean;
  density: boolean;
  prior: string;
  threshold: { kind: string; limit: number } | null;
}

export interface Concept {
  name: string;
  direction: number[];
  unit: number;
  gap: number;
  middle: number;
  auc: number;
  auc_low: number;
  auc_high: number;
  positive: string;
  negative: string;
  counts: [number, number];
  method: string;
  saved: boolean;
}

export interface Lesson {
  name: string;
  positive: number[];
  negative: number[];
  positive_name: string;
  negative_name: string;
  replace: boolean;
}

export interface Health {
  findings: { level: string; title?: string; text: string }[];
  curves: { name: string; unit: string; held: string; epochs: number[]; training: (number | null)[] | null; validation: (number | null)[] | null }[];
  dimensions: { index: number; kl: number | null; spread: number; active: boolean }[];
  numbers: Record<string, unknown>;
  part: string;
}

/** An example as it came, and what came of it. */
export interface Score {
  value: number;
  what: string;
  unusual: boolean | null;
}

/** One run: behind a server, or inside the page. Codes are float32, n rows of latent_dim numbers. */
export interface Run {
  readonly state: State;
  /** What cannot be done here, in words; empty where everything can. */
  readonly limits: string;
  readonly seeds: number;
  /** The class of all that is decoded, encoded and drawn, where the model takes one; null for an unknown one. */
  label: string | null;
  codes(): Promise<Float32Array>;
  column(name: string): Promise<ArrayLike<number>>;
  /** Where a layout places the codes: x and y of each. */
  layout(name: string): Promise<Float32Array>;
  examples(ids: number[]): Promise<NdArray>;
  names(ids: number[]): Promise<string[]>;
  health(): Promise<Health>;
  concepts(): Promise<Concept[]>;
  learn(lesson: Lesson): Promise<Concept>;
  forget(name: string): Promise<void>;
  /** Codes to pictures: uint8 for images, float32 for everything else. */
  decode(codes: Float32Array, n: number): Promise<NdArray>;
  encode(x: NdArray): Promise<Float32Array>;
  /** Tokens of examples as of this class, and the codes that are written with them; null without a server. */
  readonly tokens: ((x: NdArray, label: string | null) => Promise<Int32Array>) | null;
  readonly written: ((tokens: Int32Array) => Promise<Float32Array>) | null;
  /** A whole code, from its last part alone; null without a server. */
  readonly completed: ((upper: Float32Array) => Promise<Float32Array>) | null;
  score(x: NdArray): Promise<Score | null>;
  /** Codes from the prior. */
  sample(n: number, seed: number): Promise<Float32Array>;
}

/** Something that the person at the page can understand and do something about. */
export class Trouble extends Error {}

/** The class that a run starts with. */
export function firstLabel({ labels, label, label_classes: classes }: State): string | null {
  return label ?? (labels === "required" ? (classes[0] ?? null) : null);
}

/** Values of one example. */
export function valuesOf(state: State): number {
  return state.event_shape.reduce((a, b) => a * b, 1);
}
