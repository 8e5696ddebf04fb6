/** What can be done to an alarm, by the hub's routes. Where a route is missing, its button is too. */

import { call } from './api';
import { signed } from './session.svelte';

export const PAUSE_MINUTES = 2;

export type Action = 'acknowledge' | 'pause' | 'resume' | 'reset';

export function mayDo(action: Action): boolean {
  return signed.may('POST', `/alarms/{}/${action}`);
}

/** Returns when the hub has stored it. Raises Problem. */
export async function doTo(alarm: string, action: Action): Promise<void> {
  const body = action === 'pause' ? { seconds: PAUSE_MINUTES * 60 } : action === 'acknowledge' ? {} : undefined;
  await call('POST', `/alarms/${encodeURIComponent(alarm)}/${action}`, body);
}
