/** NEWS2 of every bed, asked for a few times a minute: the hub scores, this page shows. */

import { SvelteMap } from 'svelte/reactivity';

import { get, query } from './api';

export interface Score {
  site: string;
  bed: string;
  patient: string;
  time: string;
  total: number | null;
  at_least: number | null;
  risk: string | null;
  known: number;
  parts: number;
  trend: 'rising' | 'falling' | 'steady' | null;
  excluded: string | null;
}

const EVERY_MS = 15_000;

class Scores {
  byBed = new SvelteMap<string, Score>();
  #timer: ReturnType<typeof setInterval> | undefined;

  follow(scope: string): () => void {
    const [site, ward] = scope.split('/');
    const read = async () => {
      const answer = await get<{ scores: Score[] }>('/news2' + query({ site: site || undefined, ward })).catch(() => null);
      // A score that could not be read again says nothing about now.
      this.byBed.clear();
      for (const score of answer?.scores ?? []) this.byBed.set(`${score.site}/${score.bed}`, score);
    };
    void read();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void read(), EVERY_MS);
    return () => clearInterval(this.#timer);
  }
}

export const scores = new Scores();
