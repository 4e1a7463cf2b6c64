/** The map of one run: mosaic, points and marks in one frame, moved by pointer, touch and keyboard. */

import { drawAxes } from "./axes";
import { Camera } from "./camera";
import { Decoder } from "./decoder";
import { axisPlane, linePlane, moments, principalPlane, projectAll, type Plane } from "./latent";
import { Mosaic } from "./mosaic";
import { Artist } from "./picture";
import { Finder, Points } from "./points";
import type { Run } from "./run";

export type Tool = "move" | "lasso" | "path";

/** A place of a map, with the example that lies under it, if there is one. */
export interface Spot {
  x: number;
  y: number;
  left: number;
  top: number;
  id: number | null;
  /** By keyboard: then it is also said in words. */
  spoken: boolean;
  /** When it was pointed at, milliseconds as performance.now() counts them. */
  time: number;
}

export interface Mark {
  x: number;
  y: number;
  kind: "pin" | "sample" | "own" | "end" | "twin";
  label?: string;
}

export interface MapEvents {
  hover(spot: Spot | null): void;
  click(spot: Spot): void;
  lasso(ids: number[]): void;
  path(a: Spot, b: Spot): void;
  view(): void;
}

const REACH = 7; // pixels from a point that count as on it
const CLICK = 4; // pixels that a pointer may slip in a click
const REST = 140; // milliseconds without movement, after which everything is drawn

export class MapView {
  readonly run: Run;
  readonly camera = new Camera();
  readonly decoder: Decoder;
  readonly artist: Artist;
  readonly mosaic: Mosaic;
  readonly points: Points;
  readonly element: HTMLElement;
  readonly codes: Float32Array;
  plane: Plane;
  places: Float32Array;
  finder: Finder;
  /** What the plane does not show, is taken from here. */
  base: Float32Array;
  readonly mean: Float32Array;
  tool: Tool = "move";
  marks: Mark[] = [];
  route: [number, number][] = [];
  pointsShown = true;
  #events: MapEvents;
  #classes: ArrayLike<number> | undefined;
  #overlay: HTMLCanvasElement;
  #colours: Uint8Array;
  #dirty = { ground: true, points: true, marks: true };
  #moving = 0;
  #settled = true;
  #pointers = new Map<number, PointerEvent>();
  #down: { left: number; top: number; moved: boolean; tool: Tool } | null = null;
  #pinch = 0;
  #outline: [number, number][] = [];
  #hover: Spot | null = null;
  #cursor: [number, number] | null = null;
  #twin: number | null = null;
  #last = 0;
  #early = false;
  #ink = { line: "#fff", under: "#000", accent: "#93b1ff" };

  constructor(element: HTMLElement, run: Run, codes: Float32Array, classes: ArrayLike<number> | undefined, events: MapEvents, trouble: (error: unknown) => void) {
    const d = run.state.latent_dim;
    this.element = element;
    this.run = run;
    this.codes = codes;
    this.#events = events;
    this.artist = new Artist(run.state);
    this.decoder = new Decoder(run, trouble);
    const [ground, dots, overlay] = ["ground", "dots", "marks"].map((name) => {
      const canvas = document.createElement("canvas");
      canvas.className = name;
      canvas.setAttribute("aria-hidden", "true");
      element.append(canvas);
      return canvas;
    });
    this.#overlay = overlay;
    this.mosaic = new Mosaic(ground, this.artist, this.decoder, () => this.redraw("ground"));
    this.points = new Points(dots, run.state.count, () => this.paint(this.#colours));
    this.mean = moments(codes, d).mean;
    this.base = this.mean;
    this.#colours = new Uint8Array(4 * run.state.count);
    this.#classes = classes;
    this.plane = this.planeOf(d <= 2 ? "0,1" : "pca")!;
    this.places = projectAll(this.plane, codes, d);
    this.finder = new Finder(this.places);
    this.measure();
    this.#fit();
    this.mosaic.set(this.plane, this.base);
    new ResizeObserver(() => this.measure()).observe(element);
    this.#listen();
    requestAnimationFrame((time) => this.#frame(time));
  }

  // What is shown

  /** The plane of principal components, or of two dimensions; the line of a code of one. Null where there is none such. */
  planeOf(key: string): Plane | null {
    const { latent_dim: d, classes } = this.run.state;
    const [i, j] = key.split(",").map(Number);
    if (key === "pca") return principalPlane(this.codes, d);
    if (d === 1) return linePlane(this.codes, classes, this.#classes);
    return i < d && j < d ? axisPlane(this.codes, d, i, j) : null;
  }

  #fit(): void {
    const { placed, lanes } = this.plane;
    this.camera.fit(this.places, lanes ? "line" : placed ? "own" : "equal", lanes?.names.length);
  }

  setPlane(plane: Plane): void {
    this.plane = plane;
    this.places = projectAll(plane, this.codes, this.run.state.latent_dim);
    this.finder = new Finder(this.places);
    this.#fit();
    this.points.load(this.places, this.#colours);
    this.mosaic.set(plane, this.base);
    this.redraw();
  }

  setBase(base: Float32Array): void {
    const same = base.every((value, i) => value === this.base[i]);
    this.base = base;
    if (same || base.length <= 2) return;
    this.mosaic.set(this.plane, base);
    this.redraw("ground");
  }

  paint(colours: Uint8Array): void {
    this.#colours = colours;
    this.points.load(this.places, colours);
    this.redraw("points");
  }

  theme(ink: { line: string; under: string; accent: string }): void {
    this.#ink = ink;
    this.redraw();
  }

  mark(marks: Mark[], route: [number, number][] = this.route): void {
    this.marks = marks;
    this.route = route;
    this.redraw("marks");
  }

  /** The example under the pointer on the other map. */
  twin(id: number | null): void {
    if (id === this.#twin) return;
    this.#twin = id;
    this.redraw("marks");
  }

  get hovered(): Spot | null {
    return this.#hover;
  }

  visible(id: number): boolean {
    return this.pointsShown && this.#colours[4 * id + 3] > 0;
  }

  redraw(what: "ground" | "points" | "marks" | "all" = "all"): void {
    if (what === "all") this.#dirty = { ground: true, points: true, marks: true };
    else this.#dirty[what] = true;
  }

  /** Nothing is drawn or decoded any more. */
  get still(): boolean {
    return this.#settled && !this.#dirty.ground && !this.#dirty.points && !this.#dirty.marks && this.mosaic.complete;
  }

  measure(): void {
    const [width, height] = [this.element.clientWidth, this.element.clientHeight];
    if (!width || !height) return;
    this.camera.resize(width, height);
    const ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of this.element.querySelectorAll("canvas")) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.redraw();
  }

  moved(): void {
    this.#moving = performance.now();
    this.#settled = false;
    this.redraw();
    this.#events.view();
  }

  pointSize(): number {
    const { camera } = this;
    const area = camera.width * camera.height;
    const near = Math.sqrt(area / Math.max(1, this.run.state.count)) * 0.6;
    return Math.max(2.4, Math.min(12, near * Math.max(1, camera.depth ** 0.45)));
  }

  // Frames

  #frame(time: number): void {
    requestAnimationFrame((next) => this.#frame(next));
    const moving = performance.now() - this.#moving < REST;
    if (moving && this.#last) this.points.felt(time - this.#last);
    this.#last = moving ? time : 0;
    if (!moving && !this.#settled) {
      this.#settled = true;
      this.redraw();
    }
    const ratio = this.#overlay.width / Math.max(1, this.camera.width);
    if (this.#dirty.ground) {
      this.#dirty.ground = false;
      this.mosaic.draw(this.camera, ratio, moving);
    }
    if (this.#dirty.points) {
      this.#dirty.points = false;
      this.points.canvas.hidden = !this.pointsShown;
      if (this.pointsShown) this.points.draw(this.camera, moving, this.pointSize());
    }
    if (this.#dirty.marks) {
      this.#dirty.marks = false;
      this.#drawMarks(ratio);
    }
  }

  #drawMarks(ratio: number): void {
    const context = this.#overlay.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.camera.width, this.camera.height);
    drawAxes(context, this.camera, this.plane, this.#ink);
    context.lineJoin = context.lineCap = "round";
    if (this.route.length > 1) this.#stroke(context, this.route.map(([x, y]) => this.camera.toScreen(x, y)), false);
    if (this.#outline.length > 1) this.#stroke(context, this.#outline, true);
    if (this.#twin !== null) this.#ring(context, ...this.#screenOf(this.#twin), 9);
    if (this.#hover?.id != null) this.#ring(context, ...this.#screenOf(this.#hover.id), 7);
    for (const mark of this.marks) this.#drawMark(context, mark);
    if (this.#cursor) this.#drawCursor(context, ...this.camera.toScreen(...this.#cursor));
  }

  #screenOf(id: number): [number, number] {
    return this.camera.toScreen(this.places[2 * id], this.places[2 * id + 1]);
  }

  #twice(context: CanvasRenderingContext2D, width: number, colour = this.#ink.line): void {
    context.strokeStyle = this.#ink.under;
    context.lineWidth = width + 2.5;
    context.stroke();
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }

  #stroke(context: CanvasRenderingContext2D, line: [number, number][], closed: boolean): void {
    context.beginPath();
    line.forEach(([left, top]) => context.lineTo(left, top));
    if (closed) {
      context.closePath();
      context.fillStyle = `${this.#ink.accent}33`;
      context.fill();
    }
    this.#twice(context, 2);
  }

  #ring(context: CanvasRenderingContext2D, left: number, top: number, radius: number): void {
    context.beginPath();
    context.arc(left, top, radius, 0, 2 * Math.PI);
    this.#twice(context, 2);
  }

  #drawMark(context: CanvasRenderingContext2D, mark: Mark): void {
    const [left, top] = this.camera.toScreen(mark.x, mark.y);
    context.beginPath();
    if (mark.kind === "pin") {
      context.moveTo(left, top);
      context.bezierCurveTo(left - 4, top - 9, left - 10, top - 13, left - 10, top - 20);
      context.arc(left, top - 20, 10, Math.PI, 0);
      context.bezierCurveTo(left + 10, top - 13, left + 4, top - 9, left, top);
      context.fillStyle = this.#ink.accent;
      this.#twice(context, 1.5);
      context.fill();
      context.beginPath();
      context.arc(left, top - 20, 4, 0, 2 * Math.PI);
      context.fillStyle = this.#ink.under;
      context.fill();
    } else if (mark.kind === "own") {
      for (let i = 0; i < 4; i++) context.lineTo(left + 9 * Math.cos((i * Math.PI) / 2), top + 9 * Math.sin((i * Math.PI) / 2));
      context.closePath();
      this.#twice(context, 2);
      context.fillStyle = this.#ink.accent;
      context.fill();
    } else {
      context.arc(left, top, mark.kind === "sample" ? 5 : 8, 0, 2 * Math.PI);
      context.fillStyle = mark.kind === "sample" ? this.#ink.line : this.#ink.accent;
      this.#twice(context, 1.5);
      context.fill();
    }
    if (!mark.label) return;
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 4;
    context.strokeStyle = this.#ink.under;
    const below = top + (mark.kind === "end" ? 24 : 20);
    context.strokeText(mark.label, left, below);
    context.fillStyle = this.#ink.line;
    context.fillText(mark.label, left, below);
  }

  #drawCursor(context: CanvasRenderingContext2D, left: number, top: number): void {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(left + 5 * dx, top + 5 * dy);
      context.lineTo(left + 16 * dx, top + 16 * dy);
    }
    this.#twice(context, 2);
  }

  // Pointer

  #listen(): void {
    const surface = this.element;
    surface.addEventListener("pointerdown", (event) => this.#press(event));
    surface.addEventListener("pointermove", (event) => this.#move(event));
    // pointermove waits for the next frame; where this exists, the decoder is asked a frame earlier.
    const early = "onpointerrawupdate" in surface;
    if (early) surface.addEventListener("pointerrawupdate", (event) => !this.#down && this.#hoverAt(...this.#at(event as PointerEvent), event.timeStamp));
    this.#early = early;
    surface.addEventListener("pointerup", (event) => this.#release(event));
    surface.addEventListener("pointercancel", (event) => this.#cancel(event));
    surface.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !this.#down) this.#leave();
    });
    surface.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    surface.addEventListener("dblclick", (event) => event.preventDefault());
    surface.addEventListener("keydown", (event) => this.#key(event));
    surface.addEventListener("blur", () => this.#point(null));
  }

  #at(event: { clientX: number; clientY: number }): [number, number] {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  spot(left: number, top: number, time: number, spoken = false): Spot {
    const [x, y] = this.camera.toPlane(left, top);
    const id = this.finder.at(this.camera, left, top, Math.max(REACH, this.pointSize() / 2 + 2), (one) => this.visible(one));
    return { x, y, left, top, id, spoken, time };
  }

  #press(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.#pointers.set(event.pointerId, event);
    this.element.setPointerCapture(event.pointerId);
    this.#cursor = null;
    const [left, top] = this.#at(event);
    if (this.#pointers.size === 2) {
      this.#pinch = this.#spread();
      this.#outline = [];
    }
    const tool = event.shiftKey ? "lasso" : this.tool;
    this.#down = { left, top, moved: this.#pointers.size > 1, tool };
  }

  #spread(): number {
    const [a, b] = [...this.#pointers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  }

  #move(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId);
    const [left, top] = this.#at(event);
    if (!before || !this.#down) {
      if (!this.#early || event.pointerType !== "mouse") this.#hoverAt(left, top, event.timeStamp);
      return;
    }
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (!this.#down.moved && Math.hypot(left - this.#down.left, top - this.#down.top) < CLICK) return;
    const first = !this.#down.moved;
    this.#down.moved = true;
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size === 2) {
      const spread = this.#spread();
      const others = [...this.#pointers.values()].map((one) => this.#at(one));
      this.camera.zoom(spread / this.#pinch, (others[0][0] + others[1][0]) / 2, (others[0][1] + others[1][1]) / 2);
      this.camera.pan(dx / 2, dy / 2);
      this.#pinch = spread;
      this.moved();
    } else if (this.#down.tool === "lasso") {
      if (first) this.#outline = [[this.#down.left, this.#down.top]];
      this.#outline.push([left, top]);
      this.redraw("marks");
    } else if (this.#down.tool === "path") {
      this.route = [this.camera.toPlane(this.#down.left, this.#down.top), this.camera.toPlane(left, top)];
      this.redraw("marks");
      this.#hoverAt(left, top, event.timeStamp);
    } else {
      this.camera.pan(dx, dy);
      this.element.classList.add("grabbing");
      this.moved();
    }
  }

  #release(event: PointerEvent): void {
    const down = this.#down;
    const held = this.#pointers.delete(event.pointerId);
    this.element.classList.remove("grabbing");
    if (!held || !down || this.#pointers.size > 0) return;
    this.#down = null;
    const [left, top] = this.#at(event);
    if (!down.moved) {
      const spot = this.spot(left, top, event.timeStamp);
      this.#point(spot);
      this.#events.click(spot);
    } else if (down.tool === "lasso") {
      this.#events.lasso(this.#enclosed(this.#outline));
      this.#outline = [];
      this.redraw("marks");
    } else if (down.tool === "path") {
      this.#events.path(this.spot(down.left, down.top, event.timeStamp), this.spot(left, top, event.timeStamp));
    }
  }

  #cancel(event: PointerEvent): void {
    this.#pointers.delete(event.pointerId);
    this.#down = null;
    this.#outline = [];
    this.redraw("marks");
  }

  #leave(): void {
    this.#point(null);
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const [left, top] = this.#at(event);
    this.camera.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), left, top);
    this.mosaic.look(left, top);
    this.moved();
  }

  #hoverAt(left: number, top: number, time: number): void {
    this.#cursor = null;
    this.mosaic.look(left, top);
    this.#point(this.spot(left, top, time));
  }

  #point(spot: Spot | null): void {
    if (spot?.id !== this.#hover?.id || this.#cursor || (!spot && this.#hover)) this.redraw("marks");
    if (!spot) this.#cursor = null;
    this.#hover = spot;
    this.#events.hover(spot);
  }

  #enclosed(outline: [number, number][]): number[] {
    const plane = outline.map(([left, top]) => this.camera.toPlane(left, top));
    const [xs, ys] = [plane.map(([x]) => x), plane.map(([, y]) => y)];
    const found: number[] = [];
    for (const id of this.finder.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys))) {
      const [x, y] = [this.places[2 * id], this.places[2 * id + 1]];
      let inside = false;
      for (let i = 0, j = plane.length - 1; i < plane.length; j = i++) {
        const [[xi, yi], [xj, yj]] = [plane[i], plane[j]];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
      }
      if (inside && this.visible(id)) found.push(id);
    }
    return found.sort((a, b) => a - b);
  }

  // Keyboard

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    if (arrow) {
      this.#step(arrow, event.shiftKey);
    } else if (event.key === "+" || event.key === "=") {
      this.#zoomBy(1.4);
    } else if (event.key === "-" || event.key === "_") {
      this.#zoomBy(1 / 1.4);
    } else if (event.key === "0") {
      this.home();
    } else if (event.key === "Enter" || event.key === " ") {
      const [left, top] = this.#cursorPlace();
      this.#events.click(this.spot(left, top, event.timeStamp, true));
    } else if (event.key === "n" || event.key === "N") {
      this.#toNext();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  home(): void {
    this.camera.home();
    this.moved();
  }

  zoomBy(factor: number): void {
    this.#zoomBy(factor);
  }

  #zoomBy(factor: number): void {
    this.camera.zoom(factor, ...(this.#cursor ? this.camera.toScreen(...this.#cursor) : ([undefined, undefined] as const)));
    this.moved();
  }

  #cursorPlace(): [number, number] {
    return this.#cursor ? this.camera.toScreen(...this.#cursor) : [this.camera.width / 2, this.camera.height / 2];
  }

  #step([dx, dy]: [number, number], far: boolean): void {
    let [left, top] = this.#cursorPlace();
    left += dx * (far ? 60 : 12);
    top += dy * (far ? 60 : 12);
    const { width, height } = this.camera;
    const out = [Math.min(0, left - 24) + Math.max(0, left - width + 24), Math.min(0, top - 24) + Math.max(0, top - height + 24)];
    if (out[0] || out[1]) {
      this.camera.pan(-out[0], -out[1]);
      this.moved();
    }
    this.#jump(left - out[0], top - out[1]);
  }

  #jump(left: number, top: number): void {
    this.#cursor = this.camera.toPlane(left, top);
    this.mosaic.look(left, top);
    this.#point(this.spot(left, top, performance.now(), true));
    this.redraw("marks");
  }

  /** The visible example nearest to the cursor that it is not on. */
  #toNext(): void {
    const [left, top] = this.#cursorPlace();
    const now = this.#hover?.id ?? null;
    for (let radius = 16; radius < 2000; radius *= 1.6) {
      const id = this.finder.at(this.camera, left, top, radius, (one) => one !== now && one !== this.#before && this.visible(one));
      if (id !== null) {
        this.#before = now;
        this.#jump(...this.#screenOf(id));
        return;
      }
    }
  }

  #before: number | null = null;

  /** The whole view as one picture. */
  snapshot(background: string): HTMLCanvasElement {
    const ratio = this.#overlay.width / Math.max(1, this.camera.width);
    const made = document.createElement("canvas");
    [made.width, made.height] = [this.#overlay.width, this.#overlay.height];
    const context = made.getContext("2d")!;
    context.fillStyle = background;
    context.fillRect(0, 0, made.width, made.height);
    context.globalAlpha = Number(getComputedStyle(this.mosaic.canvas).opacity);
    context.drawImage(this.mosaic.canvas, 0, 0);
    context.globalAlpha = 1;
    if (this.pointsShown) {
      this.points.draw(this.camera, false, this.pointSize());
      context.drawImage(this.points.canvas, 0, 0);
    }
    this.#drawMarks(ratio);
    context.drawImage(this.#overlay, 0, 0);
    return made;
  }
}
