/** Which part of a plane a map shows. Positions on screen are CSS pixels from the map's upper left corner. */

const MARGIN = 0.88; // of the map that the points fill, where everything is shown
const LONGEST = 4; // times as long as the other an axis of a layout may be; beyond it the shorter one is stretched
const ABOVE = 52; // pixels over the lanes of a line at most, and
const BELOW = 152; // under them: for the decoded row and the axis; together two thirds of a low map

/** How the two axes of a plane go together: units of the code on both, units of each its own, or lanes on a line. */
export type Axes = "equal" | "own" | "line";

/** The box of the points of a map, but for the outermost. */
interface Box {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

export class Camera {
  x = 0;
  y = 0;
  /** How far in, 1 where everything is shown: whatever the size of the map. */
  depth = 1;
  width = 1;
  height = 1;
  #axes: Axes = "equal";
  #stretch = 1;
  #box: Box = { left: -1, right: 1, bottom: -1, top: 1 };

  /** Pixels for a unit of x. Of box, size and depth alone: a map that is turned, and turned back, is as it was. */
  get scale(): number {
    const { left, right, bottom, top } = this.#box;
    const wide = this.width / (right - left);
    return this.depth * MARGIN * (this.#axes === "line" ? wide : Math.min(wide, this.height / ((top - bottom) * this.#stretch)));
  }

  /** Pixels for a unit of y, over those for a unit of x. Lanes are as high as the map, however far in. */
  get stretch(): number {
    return this.#axes === "line" ? this.#lane / this.scale : this.#stretch;
  }

  get #lane(): number {
    return (this.height - this.#room * (ABOVE + BELOW)) / (this.#box.top - this.#box.bottom);
  }

  /** The part of the room over and under the lanes that this height allows. */
  get #room(): number {
    return Math.min(1, (2 / 3) * (this.height / (ABOVE + BELOW)));
  }

  toScreen(x: number, y: number): [number, number] {
    return [(x - this.x) * this.scale + this.width / 2, this.height / 2 - (y - this.y) * this.scale * this.stretch];
  }

  toPlane(left: number, top: number): [number, number] {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / (this.scale * this.stretch)];
  }

  pan(dx: number, dy: number): void {
    this.x -= dx / this.scale;
    this.y += dy / (this.scale * this.stretch);
    this.#hold();
  }

  /** Around a place on screen, which stays where it is. */
  zoom(factor: number, left = this.width / 2, top = this.height / 2): void {
    const [x, y] = this.toPlane(left, top);
    this.depth = Math.min(1e5, Math.max(1 / 50, this.depth * factor));
    const [now, then] = this.toPlane(left, top);
    this.x += x - now;
    this.y += y - then;
    this.#hold();
  }

  /**
   * Shows all points but the outermost. Axes of a code have one scale: what varies little looks so. Of a layout, whose
   * axes may have units of their own, one that is more than four times as long as the other is shortened to four times.
   */
  fit(points: Float32Array, axes: Axes, lanes = 1): void {
    const [left, right] = bounds(points, 0);
    const [bottom, top] = axes === "line" ? [0, lanes] : bounds(points, 1);
    const ratio = (right - left) / (top - bottom);
    this.#axes = axes;
    this.#box = { left, right, bottom, top };
    this.#stretch = axes === "own" ? Math.max(1, ratio / LONGEST) * Math.min(1, ratio * LONGEST) : 1;
    this.home();
  }

  home(): void {
    const { left, right, bottom, top } = this.#box;
    Object.assign(this, { x: (left + right) / 2, y: (bottom + top) / 2, depth: 1 });
    this.#hold();
  }

  resize(width: number, height: number): void {
    [this.width, this.height] = [width, height];
    this.#hold();
  }

  /** A line has one axis: its lanes stay where they are. */
  #hold(): void {
    if (this.#axes === "line") this.y = (this.height / 2 - this.#room * BELOW) / this.#lane;
  }
}

/** The ends of the points along an axis; where all are the same, one to each side of them. */
function bounds(points: Float32Array, which: 0 | 1): [number, number] {
  const n = points.length / 2;
  const step = Math.max(1, Math.floor(n / 20000));
  const some = Float32Array.from({ length: Math.ceil(n / step) }, (_, i) => points[2 * Math.min(n - 1, i * step) + which]).sort();
  const at = (p: number) => some[Math.round(p * (some.length - 1))];
  const [low, high] = some.length < 50 ? [some[0], some[some.length - 1]] : [at(0.002), at(0.998)];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}
