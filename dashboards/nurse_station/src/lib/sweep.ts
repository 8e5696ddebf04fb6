/**
 * The samples of a waveform on their way to the screen. Windows arrive a second or so at a time and are played
 * at their own pace, a little late, so that the trace moves evenly. Pure: time is an argument.
 */

export interface Window {
  waveform: string;
  time: string;
  rate: number;
  scale: number;
  offset: number;
  unit: string;
  samples: (number | null)[];
}

/** How late the trace is, in s: longer than a window and its way. */
const BUFFER_S = 2.5;
const MOST = 20_000;

export class Sweep {
  rate = 0;
  #samples: (number | null)[] = [];
  #next = 0;
  #played = 0;
  #started: number | null = null;

  /** Takes a window; times that are missing between it and the one before become gaps. */
  add(window: Window): void {
    const start = Date.parse(window.time);
    if (this.rate !== window.rate) {
      this.rate = window.rate;
      this.#samples = [];
      this.#next = 0;
      this.#started = null;
    }
    if (this.#next !== 0 && start < this.#next - 500) return;
    const gap = this.#next === 0 ? 0 : Math.min(Math.round(((start - this.#next) / 1000) * window.rate), window.rate * 3);
    for (let i = 0; i < gap; i++) this.#samples.push(null);
    for (const sample of window.samples) {
      this.#samples.push(sample === null ? null : sample * window.scale + window.offset);
    }
    this.#next = start + (window.samples.length / window.rate) * 1000;
    if (this.#samples.length > MOST) this.#samples.splice(0, this.#samples.length - MOST);
  }

  /** Returns the samples to draw since the last call; `now` in s of a clock that never jumps. */
  take(now: number): (number | null)[] {
    if (this.rate === 0) return [];
    if (this.#started === null) {
      if (this.#samples.length < this.rate * 0.8) return [];
      this.#started = now + Math.max(0, BUFFER_S - this.#samples.length / this.rate);
      this.#played = 0;
    }
    const due = Math.floor((now - this.#started) * this.rate);
    let count = Math.max(0, due - this.#played);
    // Too far behind (a sleeping tab): only the newest is worth drawing.
    const spare = this.#samples.length - this.rate * BUFFER_S * 2;
    if (spare > 0) this.#samples.splice(0, Math.floor(spare));
    if (count > this.#samples.length) {
      // Nothing came: the trace waits, it does not invent.
      this.#started += (count - this.#samples.length) / this.rate;
      count = this.#samples.length;
    }
    this.#played += count;
    return this.#samples.splice(0, count);
  }
}

/**
 * Where the pens of all curves stand at a time, px from the left: `now` as above, `speed` in px a second. They move
 * side by side as on a recorder's paper, so that what changed is one narrow strip for the browser to draw.
 */
export function penAt(now: number, speed: number, width: number): number {
  return (now * speed) % width;
}
