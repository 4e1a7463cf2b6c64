/** The originals of examples, fetched when they are needed and kept for a while. */

import type { NdArray } from "./npy";
import { rowOf } from "./picture";
import type { Run } from "./run";

const KEPT = 4000;
const AT_ONCE = 500;
type Values = NdArray["data"];

export class Examples {
  readonly run: Run;
  #found = new Map<number, Values>();
  #wanted: { id: number; done: (values: Values) => void; failed: () => void } | null = null;
  #busy = false;

  constructor(run: Run) {
    this.run = run;
  }

  known(id: number): Values | undefined {
    return this.#found.get(id);
  }

  async get(ids: number[]): Promise<Values[]> {
    const found = new Map<number, Values>();
    const missing: number[] = [];
    for (const id of ids) {
      const known = this.#found.get(id);
      if (known) found.set(id, known);
      else missing.push(id);
    }
    for (let at = 0; at < missing.length; at += AT_ONCE) {
      const part = missing.slice(at, at + AT_ONCE);
      const array = await this.run.examples(part);
      part.forEach((id, k) => {
        const values = rowOf(this.run.state, array, k).slice();
        found.set(id, values);
        this.#keep(id, values);
      });
    }
    return ids.map((id) => found.get(id)!);
  }

  /** The original under the pointer; one that waits gives way to a later one. */
  live(id: number, done: (values: Values) => void, failed: () => void): void {
    const known = this.#found.get(id);
    if (known) {
      this.#wanted = null;
      done(known);
      return;
    }
    this.#wanted = { id, done, failed };
    if (!this.#busy) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#busy = true;
    while (this.#wanted) {
      const { id, done, failed } = this.#wanted;
      this.#wanted = null;
      try {
        done((await this.get([id]))[0]);
      } catch {
        failed(); // whatever else is asked for tells why nothing answers
      }
    }
    this.#busy = false;
  }

  #keep(id: number, values: Values): void {
    if (this.#found.size > KEPT) for (const key of [...this.#found.keys()].slice(0, KEPT / 2)) this.#found.delete(key);
    this.#found.set(id, values);
  }
}
