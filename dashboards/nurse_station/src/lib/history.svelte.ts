/** The last hour of a few parameters by bed, a value a minute: for the tiles' small curves. */

import { SvelteMap } from 'svelte/reactivity';

import { trend } from './trends';
import type { BedState } from './station.svelte';

const MINUTES = 60;
export const CURVES = ['heart_rate', 'spo2', 'respiratory_rate'] as const;

interface Hour {
  /** Minute since the epoch of the last place. */
  minute: number;
  means: (number | null)[];
  sum: number;
  count: number;
}

function empty(minute: number): Hour {
  return { minute, means: new Array<number | null>(MINUTES).fill(null), sum: 0, count: 0 };
}

class Hours {
  /** Changes when what was stored of a bed has come: what draws follows this and not every value. */
  version = $state(0);
  #hours = new Map<string, Hour>();
  #asked = new SvelteMap<string, boolean>();

  add(bed: BedState, now: number): void {
    for (const parameter of CURVES) {
      const held = bed.values[parameter];
      if (typeof held?.value !== 'number') continue;
      const hour = this.#of(`${bed.key}/${bed.patient}/${parameter}`, Math.floor(now / 60_000));
      hour.sum += held.value;
      hour.count += 1;
      hour.means[MINUTES - 1] = hour.sum / hour.count;
    }
  }

  of(bed: BedState, parameter: string, now: number): (number | null)[] {
    return this.#of(`${bed.key}/${bed.patient}/${parameter}`, Math.floor(now / 60_000)).means;
  }

  /** Fills in what was stored before this page was opened; once a bed. */
  async seed(bed: BedState, now: number): Promise<void> {
    const mark = `${bed.key}/${bed.patient}`;
    if (this.#asked.has(mark)) return;
    this.#asked.set(mark, true);
    for (const parameter of CURVES) {
      const from = now - MINUTES * 60_000;
      const points = await trend({ bed, parameter, from, to: now, points: MINUTES }).catch(() => null);
      if (points === null) return;
      const hour = this.#of(`${mark}/${parameter}`, Math.floor(now / 60_000));
      points.times.forEach((time, index) => {
        const place = MINUTES - 1 - (hour.minute - Math.floor(time / 60_000));
        if (place >= 0 && place < MINUTES - 1) hour.means[place] ??= points.mean[index] ?? null;
      });
    }
    this.version += 1;
  }

  #of(key: string, minute: number): Hour {
    let hour = this.#hours.get(key);
    if (hour === undefined) {
      hour = empty(minute);
      this.#hours.set(key, hour);
    }
    const on = minute - hour.minute;
    if (on > 0) {
      const gap = Math.min(on, MINUTES);
      hour.means.splice(0, gap);
      hour.means.push(...new Array<number | null>(gap).fill(null));
      hour.minute = minute;
      hour.sum = 0;
      hour.count = 0;
    }
    return hour;
  }
}

export const hours = new Hours();
