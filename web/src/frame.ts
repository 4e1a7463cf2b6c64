/** A picture in a frame with its caption: both change together, and what is not there yet, or not any more, is said. */

import type { Values } from "./app";
import { button, h } from "./dom";
import type { Artist } from "./picture";

export class Frame {
  readonly canvas: HTMLCanvasElement;
  readonly figure: HTMLElement;
  #caption: HTMLElement;

  constructor(caption: string) {
    this.canvas = h("canvas", { role: "img", "aria-label": caption, width: 1, height: 1 });
    this.#caption = h("figcaption", {}, caption);
    this.figure = h("figure", { className: "picture" }, this.canvas, this.#caption);
  }

  get words(): string {
    return this.#caption.firstChild?.textContent ?? "";
  }

  set words(words: string) {
    if (this.words !== words || this.#caption.childNodes.length > 1) this.#caption.replaceChildren(words);
  }

  /** A picture is on its way. An old one of the same thing is dimmed meanwhile; one of another thing is taken out. */
  wait(artist: Artist, isOther: boolean): void {
    if (isOther) artist.show(this.canvas, null);
    this.figure.setAttribute("aria-busy", "true");
  }

  show(artist: Artist, values: Values | null, words: string, label = words): void {
    this.figure.removeAttribute("aria-busy");
    artist.show(this.canvas, values);
    this.words = words;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }

  /** It does not come: nothing is shown, and it can be asked for again. */
  fail(artist: Artist, words: string, again?: () => void): void {
    this.show(artist, null, words);
    if (again) this.#caption.append(" ", askAgain(again));
  }
}

export function askAgain(act: () => void): HTMLButtonElement {
  return button("Ask again", act, { className: "again" });
}

/** Whether what is in an element is on its way; until then it is dimmed. */
export function busy(element: HTMLElement, isBusy: boolean): void {
  if (isBusy) element.setAttribute("aria-busy", "true");
  else element.removeAttribute("aria-busy");
}
