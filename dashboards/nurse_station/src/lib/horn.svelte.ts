/** What this station sounds, and whether the browser lets it. */

import { Sound, type Tone } from './sound';
import { settings } from './settings.svelte';

class Horn {
  blocked = $state(true);
  /** What sounds now, where the browser lets it. */
  sounds = $state<Tone | null>(null);
  #sound = new Sound();
  #test: { tone: Tone; until: number } | null = null;

  constructor() {
    const unblock = () => void this.unblock();
    for (const kind of ['pointerdown', 'keydown'] as const) addEventListener(kind, unblock, { capture: true });
  }

  get bursts(): number {
    return this.#sound.bursts;
  }

  async unblock(): Promise<void> {
    if (!this.blocked) return;
    await this.#sound.unblock();
    this.blocked = this.#sound.blocked;
  }

  test(tone: Tone): void {
    this.#test = { tone, until: performance.now() + 2500 };
  }

  /** Call it several times a second. */
  tick(tone: Tone | null): void {
    this.blocked = this.#sound.blocked;
    this.#sound.volume(settings.volume);
    if (this.#test !== null && performance.now() > this.#test.until) this.#test = null;
    this.sounds = this.#test?.tone ?? tone;
    this.#sound.play(this.sounds);
  }
}

export const horn = new Horn();
