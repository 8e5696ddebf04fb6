/** Spreads work over frames, in order: what would hold one frame up is done in pieces. */
export class Frames {
  #waiting: (() => void)[] = [];
  #asked = false;

  /** `each`: so many pieces a frame. */
  constructor(readonly each: number) {}

  add(work: () => void): void {
    this.#waiting.push(work);
    // A page that nobody sees is given no frames.
    if (document.hidden) this.flush();
    else if (!this.#asked) this.#go();
  }

  /** Does at once what is left. */
  flush(): void {
    const left = this.#waiting;
    this.#waiting = [];
    for (const work of left) work();
  }

  /** Forgets what is left. */
  clear(): void {
    this.#waiting = [];
  }

  #go(): void {
    this.#asked = true;
    requestAnimationFrame(() => {
      for (const work of this.#waiting.splice(0, this.each)) work();
      this.#asked = false;
      if (this.#waiting.length > 0) this.#go();
    });
  }
}
