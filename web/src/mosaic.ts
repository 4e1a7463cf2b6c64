/** The decoder itself as the map's ground: tiles of decoded pictures, decoded again finer at each zoom, without end. */

import type { Camera } from "./camera";
import type { Decoder } from "./decoder";
import { lift, type Plane } from "./latent";
import { rowOf, type Artist } from "./picture";

const TILE = { image: 40, signal: 76, values: 76 }; // the least width of a tile on screen, CSS pixels; the most is twice that
const GAP = 1; // pixels between tiles
const LARGE = 3; // times a picture's own size: from there on its pixels are shown as squares
const KEPT = 6000; // tiles
const FIRST = 24; // tiles asked for at once, to begin with
const PATIENCE = 45; // milliseconds that a request may take

interface Grid {
  level: number;
  /** The size of a tile in the plane. */
  width: number;
  height: number;
  columns: [number, number];
  rows: [number, number];
}

export class Mosaic {
  readonly canvas: HTMLCanvasElement;
  #artist: Artist;
  #decoder: Decoder;
  #changed: () => void;
  #tiles = new Map<string, HTMLCanvasElement>();
  #plane: Plane | null = null;
  #base: Float32Array = new Float32Array();
  #generation = 0;
  #chunk = FIRST;
  #camera: Camera | null = null;
  #busy = false;
  #focus: [number, number] = [0, 0];
  visible = true;

  constructor(canvas: HTMLCanvasElement, artist: Artist, decoder: Decoder, changed: () => void) {
    this.canvas = canvas;
    this.#artist = artist;
    this.#decoder = decoder;
    this.#changed = changed;
  }

  /** Another plane, or other values for what it does not show; a layout has no ground. */
  set(plane: Plane, base: Float32Array): void {
    this.#plane = plane.placed ? null : plane;
    this.#base = base;
    this.forget();
  }

  /** Tiles look different now. */
  forget(): void {
    this.#generation++;
    this.#tiles.clear();
  }

  /** Tiles near this place of the screen come first. */
  look(left: number, top: number): void {
    this.#focus = [left, top];
  }

  /** Whether every tile in view is there. */
  get complete(): boolean {
    return !this.#busy && (!this.visible || !this.#plane || !this.#camera || this.#missing(this.#grid(this.#camera)).length === 0);
  }

  #grid(camera: Camera): Grid {
    const level = Math.floor(Math.log2(camera.scale / TILE[this.#artist.state.display.kind]));
    const width = 2 ** -level;
    const height = width / camera.stretch / Math.max(0.25, Math.min(4, this.#artist.aspect));
    const [left, top] = camera.toPlane(0, 0);
    const [right, bottom] = camera.toPlane(camera.width, camera.height);
    const isLine = this.#plane?.lanes !== undefined; // one row, right under its lanes
    return {
      level,
      width,
      height,
      columns: [Math.floor(left / width), Math.floor(right / width)],
      rows: isLine ? [-1, -1] : [Math.floor(bottom / height), Math.floor(top / height)],
    };
  }

  draw(camera: Camera, ratio: number, moving: boolean): void {
    this.#camera = camera;
    const context = this.canvas.getContext("2d")!;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.visible || !this.#plane) return;
    const grid = this.#grid(camera);
    const [wide, high] = [grid.width * camera.scale * ratio, grid.height * camera.scale * camera.stretch * ratio];
    context.imageSmoothingEnabled = this.#artist.state.display.kind !== "image" || wide < LARGE * this.#artist.size[0];
    context.imageSmoothingQuality = "medium";
    for (let row = grid.rows[0]; row <= grid.rows[1]; row++) {
      for (let column = grid.columns[0]; column <= grid.columns[1]; column++) {
        const [sx, sy] = camera.toScreen(column * grid.width, (row + 1) * grid.height);
        const [left, top] = [Math.round(sx * ratio), Math.round(sy * ratio)];
        const [width, height] = [Math.round(sx * ratio + wide) - left - GAP, Math.round(sy * ratio + high) - top - GAP];
        this.#drawTile(context, grid.level, column, row, left, top, width, height);
      }
    }
    if (!moving) void this.#work();
  }

  /** A tile, or the part of a coarser one that lies there. */
  #drawTile(context: CanvasRenderingContext2D, level: number, column: number, row: number, x: number, y: number, w: number, h: number): void {
    for (let up = 0; up < 5; up++) {
      const parts = 2 ** up;
      const tile = this.#tiles.get(name(level - up, Math.floor(column / parts), Math.floor(row / parts)));
      if (!tile) continue;
      const [width, height] = [tile.width / parts, tile.height / parts];
      const inside = [column - Math.floor(column / parts) * parts, parts - 1 - (row - Math.floor(row / parts) * parts)];
      context.drawImage(tile, inside[0] * width, inside[1] * height, width, height, x, y, w, h);
      return;
    }
  }

  #missing(grid: Grid): { column: number; row: number; far: number }[] {
    const camera = this.#camera!;
    const [fx, fy] = camera.toPlane(...this.#focus);
    const found = [];
    for (let row = grid.rows[0]; row <= grid.rows[1]; row++) {
      for (let column = grid.columns[0]; column <= grid.columns[1]; column++) {
        if (this.#tiles.has(name(grid.level, column, row))) continue;
        const far = ((column + 0.5) - fx / grid.width) ** 2 + ((row + 0.5) - fy / grid.height) ** 2;
        found.push({ column, row, far });
      }
    }
    return found.sort((a, b) => a.far - b.far);
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.visible && this.#plane && this.#camera) {
        const grid = this.#grid(this.#camera);
        const wanted = this.#missing(grid).slice(0, this.#chunk);
        if (wanted.length === 0) break;
        await this.#fill(grid, wanted);
        this.#changed();
      }
    } catch {
      // The decoder has told why; the next movement tries again.
    } finally {
      this.#busy = false;
    }
  }

  async #fill(grid: Grid, wanted: { column: number; row: number }[]): Promise<void> {
    const generation = this.#generation;
    const d = this.#base.length;
    const codes = new Float32Array(wanted.length * d);
    wanted.forEach(({ column, row }, k) => {
      codes.set(lift(this.#plane!, (column + 0.5) * grid.width, (row + 0.5) * grid.height, this.#base), k * d);
    });
    const { array, milliseconds } = await this.#decoder.batch(codes, wanted.length);
    if (generation !== this.#generation) return;
    const speed = PATIENCE / Math.max(1, milliseconds);
    this.#chunk = Math.round(Math.max(4, Math.min(128, this.#chunk * Math.max(0.5, Math.min(1.5, speed)))));
    if (this.#tiles.size > KEPT) {
      for (const key of [...this.#tiles.keys()].slice(0, KEPT / 3)) this.#tiles.delete(key);
    }
    wanted.forEach(({ column, row }, k) => {
      this.#tiles.set(name(grid.level, column, row), this.#artist.picture(rowOf(this.#artist.state, array, k)));
    });
  }
}

function name(level: number, column: number, row: number): string {
  return `${level},${column},${row}`;
}
