/** Floor plans and beacons: fetched while a view shows them, beacons at once when one has moved. */

import { get, Problem, query } from './api';
import type { Plan } from './plan';
import { station } from './station.svelte';

export interface Beacon {
  site: string;
  beacon: string;
  kind: 'patient' | 'staff' | 'asset' | 'unknown';
  /** Of staff and assets. */
  name: string | null;
  patient: string | null;
  /** null while nobody hears it; then `last_zone` is where it was. */
  zone: string | null;
  zone_name: string | null;
  last_zone: string | null;
  last_zone_name: string | null;
  ward: string | null;
  seen: string;
  away: boolean;
}

const EVERY_MS = 10_000;
/** However many beacons move, what this page asks of the hub stays small. */
const LEAST_MS = 1000;
/** Beacons are heard every few seconds; an age below this says nothing and would only flicker. */
const NOW_MS = 25_000;

class Whereabouts {
  plans = $state.raw<Plan[]>([]);
  beacons = $state.raw<Beacon[]>([]);
  /** Whether the plans were read; false again where they can't be. */
  known = $state(false);
  ofPatient = $derived(new Map(this.beacons.flatMap((one) => (one.patient === null ? [] : [[one.patient, one] as const]))));
  #asked = 0;
  #lastMs = -LEAST_MS;

  /** Keeps them current; call it in an effect. */
  follow(scope: string): () => void {
    void station.moves;
    const timers = [setTimeout(() => void this.#read(scope), this.#lastMs + LEAST_MS - performance.now())];
    timers.push(setInterval(() => void this.#read(scope), EVERY_MS));
    return () => timers.forEach(clearTimeout);
  }

  /** Reads the plans of a scope, and where the beacons of its site are. A patient may be in another ward. */
  async #read(scope: string): Promise<void> {
    const [site, ward] = scope.split('/');
    const asked = ++this.#asked;
    this.#lastMs = performance.now();
    try {
      const [rooms, heard] = await Promise.all([
        get<{ plans: Plan[] }>('/rooms' + query({ site: site || undefined, ward })),
        get<{ locations: Beacon[] }>('/locations' + query({ site: site || undefined })),
      ]);
      if (asked !== this.#asked) return;
      this.plans = rooms.plans;
      // What nobody has registered may be any visitor's telephone.
      this.beacons = heard.locations.filter((one) => one.kind !== 'unknown');
      this.known = true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // A place that could not be read again says nothing about now.
      if (asked === this.#asked) this.beacons = [];
    }
  }
}

export const whereabouts = new Whereabouts();

/** How long ago a beacon was heard, ms; 0 where that is now. */
export function silentFor(beacon: Beacon): number {
  const age = station.now - Date.parse(beacon.seen);
  return age < NOW_MS && beacon.zone !== null ? 0 : age;
}
