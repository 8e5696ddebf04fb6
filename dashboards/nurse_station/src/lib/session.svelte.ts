/** Who works at this station, and what the hub lets them do. */

import { call, get, onRefused, post, Problem, useCsrf } from './api';
import type { Session } from './contracts';

const TOUCH_MS = 30_000;

class Signed {
  session = $state<Session | null>(null);
  known = $state(false);
  /** Asked for again because the hub wants to know who acts. */
  asking = $state(false);
  #touched = 0;
  #input = 0;

  constructor() {
    onRefused(() => this.#lock());
    for (const kind of ['pointerdown', 'keydown'] as const) {
      addEventListener(kind, () => (this.#input = Date.now()), { passive: true, capture: true });
    }
    setInterval(() => void this.#keep(), 5_000);
  }

  get active(): boolean {
    return this.session?.active ?? false;
  }

  /** Tells whether this person may call this now; where the hub has no such route, nobody may. */
  may(method: string, path: string): boolean {
    return this.active && (this.session?.actions.includes(`${method} /api/v1${path}`) ?? false);
  }

  async resume(): Promise<void> {
    try {
      this.#take(await get<Session>('/session'));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.session = null;
    }
    this.known = true;
  }

  async signIn(user: string, password: string): Promise<void> {
    this.#take(await post<Session>('/session', { user, password }));
    this.asking = false;
  }

  async signOut(): Promise<void> {
    await call('DELETE', '/session');
    this.session = null;
  }

  #take(session: Session): void {
    useCsrf(session.csrf);
    this.session = session;
    this.#touched = Date.now();
  }

  #lock(): void {
    if (this.session !== null) this.session = { ...this.session, active: false };
  }

  /** Tells the hub that somebody is there; without that it locks the station, and so does this page. */
  async #keep(): Promise<void> {
    const session = this.session;
    if (session === null || !session.active) return;
    const now = Date.now();
    if (this.#input > this.#touched && now - this.#touched >= TOUCH_MS) {
      try {
        await post('/session/touch');
        this.#touched = now;
      } catch (error) {
        if (error instanceof Problem && error.status === 401) this.#lock();
      }
    } else if (now - Math.max(this.#touched, this.#input) > session.idle_s * 1000) {
      this.#lock();
    }
  }
}

export const signed = new Signed();
