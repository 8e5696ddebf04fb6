/** Whether the alarm path can be relied on, judged by heartbeats alone. Pure: time is an argument. */

export type Path = 'starting' | 'sound' | 'lost' | 'silent';

/** Two heartbeats (2 s each) are missing; leaves most of a second to be on the screen within 5 s. */
export const SILENT_MS = 4100;
/** A stream that is closed for longer than a quick reconnect takes. */
export const LOST_MS = 1500;

export class Watch {
  /** Of a clock that never jumps. */
  #beat: number;
  #closed: number | null = null;
  #heard = false;

  constructor(now: number) {
    this.#beat = now;
  }

  /** A heartbeat came: the whole line works. */
  beat(now: number): void {
    this.#beat = now;
    this.#closed = null;
    this.#heard = true;
  }

  /** The stream ended or could not be opened. */
  close(now: number): void {
    this.#closed ??= now;
  }

  path(now: number): Path {
    if (this.#closed !== null && now - this.#closed > LOST_MS) return 'lost';
    if (now - this.#beat > SILENT_MS) return this.#closed === null ? 'silent' : 'lost';
    return this.#heard ? 'sound' : 'starting';
  }

  /** How long the alarm path has not been known to work. */
  gap(now: number): number {
    return now - this.#beat;
  }
}

/**
 * The difference between the hub's clock and this one in ms (positive: this one is late). The heartbeat with
 * the least delay tells it best, so of the last ones the greatest counts.
 */
export class Skew {
  #last: number[] = [];

  add(hub: number, here: number): void {
    this.#last.push(hub - here);
    if (this.#last.length > 15) this.#last.shift();
  }

  get ms(): number {
    return this.#last.length === 0 ? 0 : Math.max(...this.#last);
  }
}
