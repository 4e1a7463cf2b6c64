/** The examples as points: WebGL 2, or a plain canvas with fewer of them where there is none. */

import type { Camera } from "./camera";

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour;
uniform vec2 centre; uniform vec2 scale; uniform float size;
out vec4 fill;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, colour.a > 0.0 ? 1.0 : 0.0);
  gl_PointSize = size;
  fill = colour;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 fill; uniform float size; uniform float edge; out vec4 pixel;
void main() {
  float r = length(gl_PointCoord - 0.5) * size;
  float inside = clamp(size * 0.5 - r, 0.0, 1.0);
  if (inside <= 0.0) discard;
  float rim = edge * clamp(r - size * 0.5 + 2.0, 0.0, 1.0);
  float a = fill.a * inside;
  pixel = vec4(fill.rgb * (1.0 - rim) * a, a);
}`;

const FEWER = 8000; // points on a plain canvas
const MOVING = 16; // milliseconds that a frame may take while the map moves
const LEAST = 4000;
const FIRST = 12000; // points of a map that begins to move

/** Points in an order that is random and always the same, so that the first ones stand for all. */
function shuffled(n: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  let state = 1;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

interface Painter {
  load(places: Float32Array, colours: Uint8Array): void;
  paint(camera: Camera, count: number, size: number, ratio: number): void;
}

export class Points {
  readonly canvas: HTMLCanvasElement;
  readonly accelerated: boolean;
  #painter: Painter;
  #order: Int32Array;
  #places: Float32Array = new Float32Array();
  #most: number;
  #afford: number;
  #ceiling = Infinity;
  #count: number;

  constructor(canvas: HTMLCanvasElement, count: number, onRestored: () => void) {
    this.canvas = canvas;
    this.#order = shuffled(count);
    this.#count = count;
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true, powerPreference: "high-performance" });
    this.accelerated = gl !== null;
    this.#most = gl ? count : Math.min(count, FEWER);
    this.#afford = Math.min(count, FIRST);
    this.#painter = gl ? new WebGlPainter(gl) : new PlainPainter(canvas.getContext("2d")!);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      if (gl) this.#painter = new WebGlPainter(gl);
      onRestored();
    });
  }

  get shown(): number {
    return this.#most;
  }

  /** New places (n pairs) and colours (n times red, green, blue, opacity; opacity 0 hides). */
  load(places: Float32Array, colours: Uint8Array): void {
    const n = this.#count;
    this.#places = new Float32Array(2 * n);
    const paint = new Uint8Array(4 * n);
    for (let i = 0; i < n; i++) {
      const from = this.#order[i];
      this.#places[2 * i] = places[2 * from];
      this.#places[2 * i + 1] = places[2 * from + 1];
      for (let c = 0; c < 4; c++) paint[4 * i + c] = colours[4 * from + c];
    }
    this.#painter.load(this.#places, paint);
  }

  /** Draws all, or while the map moves as many as a frame allows. */
  draw(camera: Camera, moving: boolean, size: number): void {
    const count = moving ? Math.min(this.#afford, this.#most) : this.#most;
    this.#painter.paint(camera, count, size, this.canvas.width / Math.max(1, camera.width));
  }

  /**
   * Learns from the time between two frames of a moving map how many points it can afford: more, up to where it was too
   * many; that memory fades.
   */
  felt(milliseconds: number): void {
    if (milliseconds > 1.7 * MOVING) {
      this.#ceiling = Math.max(LEAST, 0.85 * this.#afford);
      this.#afford = Math.max(LEAST, 0.75 * this.#afford);
    } else if (milliseconds < 1.15 * MOVING) {
      this.#ceiling *= 1.001;
      this.#afford = Math.min(this.#most, this.#ceiling, this.#afford * 1.03);
    }
  }
}

class WebGlPainter implements Painter {
  #gl: WebGL2RenderingContext;
  #program: WebGLProgram;
  #buffers: [WebGLBuffer, WebGLBuffer];

  constructor(gl: WebGL2RenderingContext) {
    this.#gl = gl;
    const program = gl.createProgram()!;
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "The shaders do not link.");
    gl.useProgram(program);
    this.#program = program;
    this.#buffers = [gl.createBuffer()!, gl.createBuffer()!];
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  load(places: Float32Array, colours: Uint8Array): void {
    const gl = this.#gl;
    for (const [at, name, data, size, kind] of [
      [0, "place", places, 2, gl.FLOAT],
      [1, "colour", colours, 4, gl.UNSIGNED_BYTE],
    ] as const) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers[at]);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      const location = gl.getAttribLocation(this.#program, name);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, kind, kind === gl.UNSIGNED_BYTE, 0, 0);
    }
  }

  paint(camera: Camera, count: number, size: number, ratio: number): void {
    const gl = this.#gl;
    const uniform = (name: string) => gl.getUniformLocation(this.#program, name);
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(uniform("centre"), camera.x, camera.y);
    gl.uniform2f(uniform("scale"), (2 * camera.scale) / camera.width, (2 * camera.scale * camera.stretch) / camera.height);
    gl.uniform1f(uniform("size"), size * ratio);
    gl.uniform1f(uniform("edge"), size >= 5 ? 0.75 : 0);
    gl.drawArrays(gl.POINTS, 0, count);
  }
}

class PlainPainter implements Painter {
  #context: CanvasRenderingContext2D;
  #places: Float32Array = new Float32Array();
  #colours: Uint8Array = new Uint8Array();

  constructor(context: CanvasRenderingContext2D) {
    this.#context = context;
  }

  load(places: Float32Array, colours: Uint8Array): void {
    this.#places = places;
    this.#colours = colours;
  }

  paint(camera: Camera, count: number, size: number, ratio: number): void {
    const [context, places, colours] = [this.#context, this.#places, this.#colours];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    for (let i = 0; i < count; i++) {
      const alpha = colours[4 * i + 3];
      const [left, top] = camera.toScreen(places[2 * i], places[2 * i + 1]);
      if (!alpha || left < 0 || top < 0 || left > camera.width || top > camera.height) continue;
      context.fillStyle = `rgb(${colours[4 * i]} ${colours[4 * i + 1]} ${colours[4 * i + 2]} / ${alpha / 255})`;
      context.fillRect(left - size / 2, top - size / 2, size, size);
    }
  }
}

/** Finds the point under the pointer: points sorted into the cells of a grid. */
export class Finder {
  #places: Float32Array;
  #low: [number, number];
  #cell: [number, number];
  #side: number;
  #starts: Int32Array;
  #ids: Int32Array;

  constructor(places: Float32Array) {
    const n = places.length / 2;
    this.#places = places;
    const low: [number, number] = [Infinity, Infinity];
    const high: [number, number] = [-Infinity, -Infinity];
    for (let i = 0; i < 2 * n; i++) {
      low[i & 1] = Math.min(low[i & 1], places[i]);
      high[i & 1] = Math.max(high[i & 1], places[i]);
    }
    this.#side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(n))));
    this.#low = low;
    this.#cell = [(high[0] - low[0]) / this.#side || 1, (high[1] - low[1]) / this.#side || 1];
    const cells = Int32Array.from({ length: n }, (_, i) => this.#column(places[2 * i], 0) + this.#side * this.#column(places[2 * i + 1], 1));
    this.#starts = new Int32Array(this.#side ** 2 + 1);
    for (const cell of cells) this.#starts[cell + 1]++;
    for (let i = 0; i < this.#side ** 2; i++) this.#starts[i + 1] += this.#starts[i];
    const next = this.#starts.slice();
    this.#ids = new Int32Array(n);
    cells.forEach((cell, id) => (this.#ids[next[cell]++] = id));
  }

  #column(value: number, axis: 0 | 1): number {
    return Math.max(0, Math.min(this.#side - 1, Math.floor((value - this.#low[axis]) / this.#cell[axis])));
  }

  /** Points inside a box of the plane. */
  *within(x0: number, y0: number, x1: number, y1: number): Generator<number> {
    for (let row = this.#column(y0, 1); row <= this.#column(y1, 1); row++) {
      const first = row * this.#side;
      const [from, to] = [this.#starts[first + this.#column(x0, 0)], this.#starts[first + this.#column(x1, 0) + 1]];
      for (let i = from; i < to; i++) {
        const id = this.#ids[i];
        const [x, y] = [this.#places[2 * id], this.#places[2 * id + 1]];
        if (x >= x0 && x <= x1 && y >= y0 && y <= y1) yield id;
      }
    }
  }

  /** The visible point nearest to a place of the screen, at most `radius` pixels away. */
  at(camera: Camera, left: number, top: number, radius: number, seen: (id: number) => boolean): number | null {
    const [x, y] = camera.toPlane(left, top);
    const [dx, dy] = [radius / camera.scale, radius / (camera.scale * camera.stretch)];
    let found: number | null = null;
    let least = radius * radius;
    for (const id of this.within(x - dx, y - dy, x + dx, y + dy)) {
      const [sx, sy] = camera.toScreen(this.#places[2 * id], this.#places[2 * id + 1]);
      const distance = (sx - left) ** 2 + (sy - top) ** 2;
      if (distance <= least && seen(id)) {
        least = distance;
        found = id;
      }
    }
    return found;
  }
}
