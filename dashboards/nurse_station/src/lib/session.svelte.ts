/** Who works at this station, and what the hub lets them do. */

import { call, get, onRefused, post, Problem, useCsrf } from './api';
import type { Session, SignInMethods } from './contracts';

const TOUCH_MS = 30_000;
/** Keeps where this page was when it left for the hospital's provider. */
const PLACE = 'wardhub-place';

class Signed {
  session = $state<Session | null>(null);
  known = $state(false);
  /** Asked for again because the hub wants to know who acts. */
  asking = $state(false);
  methods = $state<SignInMethods>({ local: true, openid: null });
  /** Why the provider's answer let nobody in, as the hub names it. */
  refused = $state('');
  #windows = new BroadcastChannel('wardhub-sign-in');
  #touched = 0;
  #input = 0;

  constructor() {
    onRefused(() => this.#lock());
    for (const kind of ['pointerdown', 'keydown'] as const) {
      addEventListener(kind, () => (this.#input = Date.now()), { passive: true, capture: true });
    }
    setInterval(() => void this.#keep(), 5_000);
    // Somebody signed in at the provider, in a window beside this one.
    this.#windows.onmessage = () => void this.resume();
    this.#comeBack();
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

  async askMethods(): Promise<void> {
    this.methods = await get<SignInMethods>('/session/methods');
  }

  /** Goes to the hospital's provider; `beside` in a window of its own, so that this one goes on showing alarms. */
  async signInAtProvider(beside: boolean): Promise<void> {
    // At once: a browser opens a window for a click alone, not for what comes after it.
    const opened = beside ? open('', '_blank', 'popup,width=520,height=720') : null;
    try {
      const { url } = await post<{ url: string }>('/session/oidc');
      if (opened !== null) {
        opened.location.replace(url);
      } else {
        sessionStorage.setItem(PLACE, location.hash);
        location.assign(url);
      }
    } catch (error) {
      opened?.close();
      throw error;
    }
  }

  async changePassword(user: string, password: string, next: string): Promise<void> {
    await post('/session/password', { user, password, new_password: next });
  }

  async signIn(user: string, password: string): Promise<void> {
    this.#take(await post<Session>('/session', { user, password }));
    this.asking = false;
  }

  async signOut(): Promise<void> {
    const out = await call<{ provider_url: string } | undefined>('DELETE', '/session');
    this.session = null;
    if (out !== undefined) location.assign(out.provider_url);
  }

  /** Takes note of what came of signing in at the provider, and leaves the address as it was. */
  #comeBack(): void {
    const result = new URLSearchParams(location.search).get('sign-in');
    if (result === null) return;
    const place = sessionStorage.getItem(PLACE);
    sessionStorage.removeItem(PLACE);
    history.replaceState(null, '', location.pathname + (place ?? location.hash));
    dispatchEvent(new HashChangeEvent('hashchange'));
    this.refused = result === 'done' ? '' : result;
    this.asking = this.refused !== '';
    if (result === 'done') {
      this.#windows.postMessage(result);
      if (place === null) close(); // It was opened beside a station that goes on.
    }
  }

  #take(session: Session): void {
    useCsrf(session.csrf);
    this.session = session;
    if (session.active && this.refused === '') this.asking = false;
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
