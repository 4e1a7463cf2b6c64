/** Draws one example or decoded code: an image as its pixels, a signal as lines, other values as bars. */

import type { NdArray } from "./npy";
import { valuesOf, type State } from "./run";

/** Where example k of an array lies in its data. */
export function rowOf(state: State, array: NdArray, k: number): NdArray["data"] {
  const size = valuesOf(state);
  return array.data.subarray(k * size, (k + 1) * size);
}

const PLOT = 192; // the height of what is no image, pixels

export class Artist {
  readonly state: State;
  #ink = "#000";

  constructor(state: State) {
    this.state = state;
  }

  /** The colour of lines and bars. */
  dress(ink: string): void {
    this.#ink = ink;
  }

  /** Width over height of a picture. */
  get aspect(): number {
    const { kind, width = 1, height = 1 } = this.state.display;
    return kind === "image" ? width / height : kind === "signal" ? 1.8 : 1.4;
  }

  /** The size at which each pixel has one pixel. */
  get size(): [number, number] {
    const { kind, width = 1, height = 1 } = this.state.display;
    return kind === "image" ? [width, height] : [Math.round(PLOT * this.aspect), PLOT];
  }

  /** A canvas of the picture's own size. */
  picture(values: NdArray["data"]): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = this.size;
    const context = canvas.getContext("2d")!;
    if (this.state.display.kind === "image") context.putImageData(this.#image(values), 0, 0);
    else this.#plot(context, values);
    return canvas;
  }

  /** Into a canvas that is on the page, as large as it is there. */
  show(canvas: HTMLCanvasElement, values: NdArray["data"] | null): void {
    if (!values) {
      canvas.getContext("2d")!.clearRect(0, 0, canvas.width, canvas.height);
      canvas.dataset.empty = "";
      return;
    }
    delete canvas.dataset.empty;
    const [width, height] = this.size;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d")!;
    if (this.state.display.kind === "image") {
      context.putImageData(this.#image(values), 0, 0);
    } else {
      context.clearRect(0, 0, width, height);
      this.#plot(context, values);
    }
  }

  #image(values: NdArray["data"]): ImageData {
    const { width = 1, height = 1, channels = 1, low, high } = this.state.display;
    const image = new ImageData(width, height);
    const planes = this.state.layout === "CHW";
    const area = width * height;
    const bytes = values instanceof Uint8Array;
    const factor = bytes ? 1 : 255 / (high - low || 1);
    const zero = bytes ? 0 : low;
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < 3; c++) {
        const channel = Math.min(c, channels - 1);
        image.data[4 * i + c] = (values[planes ? channel * area + i : i * channels + channel] - zero) * factor;
      }
      image.data[4 * i + 3] = 255;
    }
    return image;
  }

  #plot(context: CanvasRenderingContext2D, values: NdArray["data"]): void {
    const { kind, low, high, lows, highs } = this.state.display;
    const [width, height] = this.size;
    const up = (value: number, from = low, to = high) => height - 6 - ((Math.max(from, Math.min(to, value)) - from) / (to - from || 1)) * (height - 12);
    context.fillStyle = context.strokeStyle = this.#ink;
    if (kind === "values") {
      const bar = (width - 8) / values.length;
      for (let i = 0; i < values.length; i++) {
        const [from, to] = [lows?.[i] ?? low, highs?.[i] ?? high];
        const zero = lows ? height - 4 : up(Math.max(from, Math.min(0, to)), from, to);
        const top = up(values[i], from, to);
        context.fillRect(4 + i * bar, Math.min(top, zero), Math.max(1, bar * 0.8), Math.max(2, Math.abs(zero - top)));
      }
      return;
    }
    const shape = this.state.event_shape;
    const first = this.state.layout === "CL";
    const [steps, lines] = shape.length < 2 ? [shape[0], 1] : first ? [shape[1], shape[0]] : [shape[0], shape[1]];
    context.lineWidth = 4;
    context.lineJoin = "round";
    for (let line = 0; line < lines; line++) {
      context.globalAlpha = 1 - (0.6 * line) / Math.max(1, lines);
      context.beginPath();
      for (let t = 0; t < steps; t++) {
        const value = values[first ? line * steps + t : t * lines + line];
        context.lineTo(4 + (t / Math.max(1, steps - 1)) * (width - 8), up(value));
      }
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}
