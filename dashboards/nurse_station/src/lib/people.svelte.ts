/** Names of patients, fetched when a view shows them and held in memory only. */

import { SvelteMap } from 'svelte/reactivity';

import { words } from '../i18n';
import { get } from './api';
import { initials } from './format';
import { signed } from './session.svelte';
import { settings } from './settings.svelte';

export interface Person {
  id: string;
  name: string;
  age_group?: string;
  birth_date?: string | null;
  spo2_scale?: number;
}

const AT_ONCE = 4;

class People {
  #known = new SvelteMap<string, Person>();
  #asked = new Set<string>();
  #waiting: string[] = [];
  #running = 0;

  /** What to call a patient on this screen, as far as its privacy setting lets it. */
  shown(patient: string | null, full = false): string {
    if (patient === null) return words().free;
    if (settings.privacy === 'hidden' && !full) return '';
    const person = this.#known.get(patient);
    if (person === undefined) return '';
    return settings.privacy === 'name' || full ? person.name : initials(person.name);
  }

  person(patient: string | null): Person | undefined {
    return patient === null ? undefined : this.#known.get(patient);
  }

  want(patient: string | null): void {
    if (patient === null || this.#asked.has(patient) || !signed.may('GET', '/patients/{}')) return;
    this.#asked.add(patient);
    this.#waiting.push(patient);
    void this.#next();
  }

  forget(): void {
    this.#known.clear();
    this.#asked.clear();
    this.#waiting = [];
  }

  async #next(): Promise<void> {
    if (this.#running >= AT_ONCE) return;
    const patient = this.#waiting.shift();
    if (patient === undefined) return;
    this.#running += 1;
    try {
      this.#known.set(patient, await get<Person>(`/patients/${encodeURIComponent(patient)}`));
    } catch {
      this.#asked.delete(patient);
    } finally {
      this.#running -= 1;
    }
    void this.#next();
  }
}

export const people = new People();
