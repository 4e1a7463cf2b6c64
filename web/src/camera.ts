/** Which part of a plane a map shows. Positions on screen are CSS pixels from the map's upper left corner. */

const MARGIN = 0.92; // of the map that the points fill, where everything is shown
const NARROWEST = 4; // one axis may be as many times as long as the other before the shorter one is stretched

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
  /** Pixels for a unit of y, over those for a unit of x. */
  stretch = 1;
  #box: Box = { left: -1, right: 1, bottom: -1, top: 1 };

  /** Pixels for a unit of x. Of box, size and depth alone: a map that is turned, and turned back, is as it was. */
  get scale(): number {
    const { left, right, bottom, top } = this.#box;
    return this.depth * MARGIN * Math.min(this.width / (right - left), this.height / ((top - bottom) * this.stretch));
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
  }

  /** Around a place on screen, which stays where it is. */
  zoom(factor: number, left = this.width / 2, top = this.height / 2): void {
    const [x, y] = this.toPlane(left, top);
    this.depth = Math.min(1e5, Math.max(1 / 50, this.depth * factor));
    const [now, then] = this.toPlane(left, top);
    this.x += x - now;
    this.y += y - then;
  }

  /** Shows all points but the outermost. Axes keep one scale unless one is more than four times as long. */
  fit(points: Float32Array): void {
    const [left, right] = bounds(points, 0);
    const [bottom, top] = bounds(points, 1);
    const [wide, high] = [right - left, top - bottom];
    this.#box = { left, right, bottom, top };
    this.stretch = wide / high > NARROWEST || high / wide > NARROWEST ? wide / high : 1;
    this.home();
  }

  home(): void {
    const { left, right, bottom, top } = this.#box;
    Object.assign(this, { x: (left + right) / 2, y: (bottom + top) / 2, depth: 1 });
  }

  resize(width: number, height: number): void {
    [this.width, this.height] = [width, height];
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
