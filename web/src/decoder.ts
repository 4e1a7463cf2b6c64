/** Two lanes to a run's decoder: what lies under the pointer goes first, and only where it is now; tiles wait. */

import type { NdArray } from "./npy";
import type { Run } from "./run";

export class Decoder {
  #run: Run;
  #trouble: (error: unknown) => void;
  #wanted: { code: Float32Array; done: (array: NdArray) => void; failed: () => void } | null = null;
  #live: Promise<void> | null = null;

  constructor(run: Run, trouble: (error: unknown) => void) {
    this.#run = run;
    this.#trouble = trouble;
  }

  /** Decodes one code soon; a later call replaces one that still waits, which is then never answered. */
  live(code: Float32Array, done: (array: NdArray) => void, failed: () => void = () => undefined): void {
    this.#wanted = { code, done, failed };
    this.#live ??= this.#pump();
  }

  /** What waits is no longer wanted. */
  drop(): void {
    this.#wanted = null;
  }

  async #pump(): Promise<void> {
    while (this.#wanted) {
      const { code, done, failed } = this.#wanted;
      this.#wanted = null;
      try {
        done(await this.#run.decode(code, 1));
      } catch (error) {
        this.#trouble(error);
        failed();
      }
    }
    this.#live = null;
  }

  /** Decodes n codes when nothing lies under the pointer. */
  async batch(codes: Float32Array, n: number): Promise<{ array: NdArray; milliseconds: number }> {
    while (this.#live) await this.#live;
    const start = performance.now();
    try {
      return { array: await this.#run.decode(codes, n), milliseconds: performance.now() - start };
    } catch (error) {
      this.#trouble(error);
      throw error;
    }
  }
}
