/** Geometry of codes: planes to look at, ways between, neighbours, directions. Rows of d numbers, float32. */

/** A plane in the space of codes, with orthonormal axes; a map shows it. */
export interface Plane {
  key: string;
  origin: Float32Array;
  u: Float32Array;
  v: Float32Array;
  labels: [string, string];
  /** The share of the codes' variance that lies along each of its axes; of a layout there is none. */
  shares?: number[];
  /** Of a layout, which is no plane in the space of codes: the codes, and where it places them. */
  placed?: { codes: Float32Array; places: Float32Array };
  /** Of a code of one dimension, which is a line and no plane: the lane of each example, from above, and their names. */
  lanes?: Lanes;
}

export interface Lanes {
  names: string[];
  of: ArrayLike<number>;
}

/** What a layout shows. Between its points lies nothing: a place stands for the example that is nearest to it. */
export function layoutPlane(name: string, labels: [string, string], codes: Float32Array, places: Float32Array, d: number): Plane {
  const none = new Float32Array(d);
  return { key: `layout:${name}`, origin: none, u: none, v: none, labels, placed: { codes, places } };
}

/** What a dimension of the code is called, here as in figures, tables and on the command line: z1 is the first. */
export function dimension(index: number): string {
  return `z${index + 1}`;
}

/** The dimension with a name, of d; -1 for another name. */
export function dimensionOf(name: string, d: number): number {
  const index = /^z[1-9]\d*$/.test(name) ? Number(name.slice(1)) - 1 : -1;
  return index < d ? index : -1;
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>, at = 0): number {
  let sum = 0;
  for (let i = 0; i < b.length; i++) sum += a[at + i] * b[i];
  return sum;
}

function axis(d: number, i: number): Float32Array {
  const made = new Float32Array(d);
  if (i < d) made[i] = 1;
  return made;
}

/** The line of a code of one dimension, with a lane for each class, and one for examples without. */
export function linePlane(codes: Float32Array, classes: string[], of: ArrayLike<number> | undefined): Plane {
  const n = codes.length;
  const lane = (row: number) => (of && of[row] >= 0 && of[row] < classes.length ? of[row] : classes.length);
  const lanes = Int32Array.from({ length: n }, (_, row) => (of ? lane(row) : 0));
  const names = of ? [...classes, ...(lanes.includes(classes.length) ? ["none"] : [])] : [""];
  return { key: "0,1", origin: moments(codes, 1).mean, u: axis(1, 0), v: axis(1, 1), labels: [dimension(0), ""], lanes: { names, of: lanes } };
}

/** The plane of two dimensions of the code. */
export function axisPlane(codes: Float32Array, d: number, i: number, j: number): Plane {
  const spread = moments(codes, d).variance;
  const total = spread.reduce((a, b) => a + b, 0) || 1;
  return { key: `${i},${j}`, origin: moments(codes, d).mean, u: axis(d, i), v: axis(d, j), labels: [dimension(i), dimension(j)], shares: [spread[i] / total, spread[j] / total] };
}

export function moments(codes: Float32Array, d: number): { mean: Float32Array; variance: Float32Array } {
  const n = codes.length / d;
  const sums = new Float64Array(d);
  const squares = new Float64Array(d);
  for (let row = 0; row < n; row++) for (let i = 0; i < d; i++) sums[i] += codes[row * d + i];
  for (let i = 0; i < d; i++) sums[i] /= n;
  for (let row = 0; row < n; row++) for (let i = 0; i < d; i++) squares[i] += (codes[row * d + i] - sums[i]) ** 2;
  return { mean: Float32Array.from(sums), variance: Float32Array.from(squares, (s) => s / n) };
}

const SAMPLE = 4000;
const GUARDS = 3; // directions carried along, so that the first two settle soon
const ROUNDS = 30; // over the codes
const SMALL = 256; // dimensions, up to which their covariance is computed once, and
const MORE_ROUNDS = 300; // over it: components of nearly the same variance settle, too

/** The plane of the first two principal components, by subspace iteration on at most 4,000 of the codes. */
export function principalPlane(codes: Float32Array, d: number): Plane {
  const { mean, variance } = moments(codes, d);
  const n = codes.length / d;
  const step = Math.max(1, Math.floor(n / SAMPLE));
  const rows: Float32Array[] = [];
  for (let row = 0; row < n && rows.length < SAMPLE; row += step) {
    rows.push(Float32Array.from({ length: d }, (_, i) => codes[row * d + i] - mean[i]));
  }
  const count = Math.min(d, 2 + GUARDS);
  let basis = Array.from({ length: count }, (_, k) => Float64Array.from({ length: d }, (_, i) => Math.sin(1 + i * (k + 1.7) * 2.3)));
  orthonormalise(basis);
  const covariance = d <= SMALL ? covarianceOf(rows, d) : null;
  for (let round = 0; round < (covariance ? MORE_ROUNDS : ROUNDS); round++) {
    const next = basis.map(() => new Float64Array(d));
    if (covariance) next.forEach((made, k) => covariance.forEach((row, i) => (made[i] = dot(row, basis[k]))));
    for (const row of covariance ? [] : rows) {
      for (let k = 0; k < count; k++) {
        const along = dot(row, basis[k]);
        for (let i = 0; i < d; i++) next[k][i] += along * row[i];
      }
    }
    basis = next;
    orthonormalise(basis);
  }
  const power = basis.map((direction) => rows.reduce((sum, row) => sum + dot(row, direction) ** 2, 0) / rows.length);
  const order = power.map((_, k) => k).sort((a, b) => power[b] - power[a]);
  const [u, v] = order.slice(0, 2).map((k) => facing(basis[k]));
  const total = variance.reduce((a, b) => a + b, 0) || 1;
  const shares = order.slice(0, 2).map((k) => Math.min(1, power[k] / total));
  return { key: "pca", origin: mean, u, v, labels: ["component 1", "component 2"], shares };
}

function covarianceOf(rows: Float32Array[], d: number): Float64Array[] {
  const sums = Array.from({ length: d }, () => new Float64Array(d));
  for (const row of rows) {
    for (let i = 0; i < d; i++) for (let j = 0; j < d; j++) sums[i][j] += row[i] * row[j];
  }
  return sums;
}

/** A direction has two signs; the one whose largest number is positive is taken. */
function facing(direction: Float64Array): Float32Array {
  const largest = direction.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0);
  return Float32Array.from(direction, (x) => (largest < 0 ? -x : x));
}

function orthonormalise(basis: Float64Array[]): void {
  for (let k = 0; k < basis.length; k++) {
    for (let pass = 0; pass < 2; pass++) {
      for (let m = 0; m < k; m++) {
        const along = dot(basis[k], basis[m]);
        for (let i = 0; i < basis[k].length; i++) basis[k][i] -= along * basis[m][i];
      }
    }
    const length = Math.sqrt(dot(basis[k], basis[k]));
    for (let i = 0; i < basis[k].length; i++) basis[k][i] = length > 1e-12 ? basis[k][i] / length : 0;
  }
}

/** Where a code lies in a plane. */
export function project(plane: Plane, code: ArrayLike<number>, at = 0): [number, number] {
  if (plane.placed) {
    const d = plane.u.length;
    const [{ id }] = nearest(plane.placed.codes, d, Float32Array.from({ length: d }, (_, i) => code[at + i]), 1);
    return [plane.placed.places[2 * id], plane.placed.places[2 * id + 1]];
  }
  let x = 0;
  let y = 0;
  const own = isAxis(plane);
  for (let i = 0; i < plane.u.length; i++) {
    const part = code[at + i] - (own ? 0 : plane.origin[i]);
    x += part * plane.u[i];
    y += part * plane.v[i];
  }
  return [x, y];
}

/** On the plane of two dimensions positions are the code's own numbers, on others they are counted from the mean. */
function isAxis(plane: Plane): boolean {
  return plane.key !== "pca";
}

export function projectAll(plane: Plane, codes: Float32Array, d: number): Float32Array {
  if (plane.placed) return plane.placed.places;
  const n = codes.length / d;
  const made = new Float32Array(2 * n);
  const [x0, y0] = isAxis(plane) ? [0, 0] : [dot(plane.origin, plane.u), dot(plane.origin, plane.v)];
  for (let row = 0; row < n; row++) {
    made[2 * row] = dot(codes, plane.u, row * d) - x0;
    made[2 * row + 1] = plane.lanes ? plane.lanes.names.length - plane.lanes.of[row] - 0.5 : dot(codes, plane.v, row * d) - y0;
  }
  return made;
}

/** The code at a place of the plane that is like `base` in all that the plane does not show. */
export function lift(plane: Plane, x: number, y: number, base: Float32Array): Float32Array {
  if (plane.placed) {
    const [{ id }] = nearest(plane.placed.places, 2, Float32Array.of(x, y), 1);
    return plane.placed.codes.slice(id * base.length, (id + 1) * base.length);
  }
  const [x0, y0] = project(plane, base);
  return base.map((value, i) => value + (x - x0) * plane.u[i] + (y - y0) * plane.v[i]);
}

export function mix(a: Float32Array, b: Float32Array, t: number): Float32Array {
  return a.map((value, i) => value * (1 - t) + b[i] * t);
}

/** n codes from a to b, both included: along the line, or along the arc about the origin (Shoemake 1985). */
export function way(a: Float32Array, b: Float32Array, n: number, round: boolean): Float32Array {
  const d = a.length;
  const made = new Float32Array(n * d);
  const [la, lb] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
  const angle = la && lb ? Math.acos(Math.max(-1, Math.min(1, dot(a, b) / (la * lb)))) : 0;
  const arc = round && angle > 1e-6 && angle < Math.PI - 1e-6;
  for (let k = 0; k < n; k++) {
    const t = n > 1 ? k / (n - 1) : 0;
    if (!arc || k === 0 || k === n - 1) {
      made.set(mix(a, b, t), k * d);
      continue;
    }
    const length = la * (1 - t) + lb * t;
    const [wa, wb] = [Math.sin((1 - t) * angle) / (Math.sin(angle) * la), Math.sin(t * angle) / (Math.sin(angle) * lb)];
    for (let i = 0; i < d; i++) made[k * d + i] = length * (a[i] * wa + b[i] * wb);
  }
  return made;
}

/** The k rows nearest to a code, the nearest first, by Euclidean distance. */
export function nearest(codes: Float32Array, d: number, code: Float32Array, k: number): { id: number; distance: number }[] {
  const best: { id: number; distance: number }[] = [];
  let limit = Infinity;
  for (let row = 0, at = 0; at < codes.length; row++, at += d) {
    let sum = 0;
    for (let i = 0; i < d && sum < limit; i++) {
      const part = codes[at + i] - code[i];
      sum += part * part;
    }
    if (sum >= limit && best.length === k) continue;
    let place = best.length;
    while (place > 0 && best[place - 1].distance > sum) place--;
    best.splice(place, 0, { id: row, distance: sum });
    if (best.length > k) best.pop();
    if (best.length === k) limit = best[k - 1].distance;
  }
  return best.map(({ id, distance }) => ({ id, distance: Math.sqrt(distance) }));
}

/** The p-quantiles of one dimension. */
export function quantiles(codes: Float32Array, d: number, i: number, ps: number[]): number[] {
  const n = codes.length / d;
  const values = Float32Array.from({ length: n }, (_, row) => codes[row * d + i]).sort();
  return ps.map((p) => values[Math.min(n - 1, Math.max(0, Math.round(p * (n - 1))))]);
}

/** The chance that a positive number is larger than a negative one; ties count half (Mann and Whitney 1947). */
export function auc(positive: number[], negative: number[]): number {
  const all = [...positive.map((x) => [x, 1]), ...negative.map((x) => [x, 0])].sort((a, b) => a[0] - b[0]);
  let ranks = 0;
  for (let i = 0; i < all.length; ) {
    let j = i;
    while (j < all.length && all[j][0] === all[i][0]) j++;
    for (let k = i; k < j; k++) if (all[k][1]) ranks += (i + j + 1) / 2;
    i = j;
  }
  return (ranks - (positive.length * (positive.length + 1)) / 2) / (positive.length * negative.length);
}
