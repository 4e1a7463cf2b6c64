/** Which part of a plane a map shows. Positions on screen are CSS pixels from the map's upper left corner. */

export class Camera {
  x = 0;
  y = 0;
  /** Pixels for a unit of x. */
  scale = 100;
  /** Pixels for a unit of y, over those for a unit of x. */
  stretch = 1;
  width = 1;
  height = 1;
  #home = { x: 0, y: 0, scale: 100 };

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
    const least = this.#home.scale / 50;
    this.scale = Math.min(this.#home.scale * 1e5, Math.max(least, this.scale * factor));
    const [now, then] = this.toPlane(left, top);
    this.x += x - now;
    this.y += y - then;
  }

  /** How far in, 1 where everything is seen. */
  get depth(): number {
    return this.scale / this.#home.scale;
  }

  /** Shows all points but the outermost. Axes keep one scale unless one is more than four times as long. */
  fit(points: Float32Array): void {
    const [left, right] = bounds(points, 0);
    const [bottom, top] = bounds(points, 1);
    const [wide, high] = [right - left || 1, top - bottom || 1];
    this.stretch = wide / high > 4 || high / wide > 4 ? wide / high : 1;
    this.#home = { x: (left + right) / 2, y: (bottom + top) / 2, scale: 1 };
    this.#home.scale = 0.92 * Math.min(this.width / wide, this.height / (high * this.stretch));
    this.home();
  }

  home(): void {
    Object.assign(this, this.#home);
  }

  resize(width: number, height: number): void {
    const factor = Math.min(width / this.width, height / this.height);
    if (this.width > 1 && factor > 0) {
      this.scale *= factor;
      this.#home.scale *= factor;
    }
    this.width = width;
    this.height = height;
  }
}

function bounds(points: Float32Array, which: 0 | 1): [number, number] {
  const n = points.length / 2;
  const step = Math.max(1, Math.floor(n / 20000));
  const some = Float32Array.from({ length: Math.ceil(n / step) }, (_, i) => points[2 * Math.min(n - 1, i * step) + which]).sort();
  const at = (p: number) => some[Math.round(p * (some.length - 1))];
  return some.length < 50 ? [some[0], some[some.length - 1]] : [at(0.002), at(0.998)];
}
