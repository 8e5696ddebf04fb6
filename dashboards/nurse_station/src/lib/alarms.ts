/** The order of alarms and what of each is shown. Pure. */

import type { Alarm, Priority } from './contracts';

/** What a person sees of an alarm: the condition's presence and what was done about its signal. */
export type Signal = 'on' | 'latched' | 'acknowledged' | 'paused';

export interface ShownAlarm extends Omit<Alarm, 'signal'> {
  signal: Signal;
  /** When a timed pause ends, ms since the epoch. */
  pausedUntil: number | null;
  acknowledgedBy: string | null;
  /** How often the condition came and went in this episode. */
  count: number;
  /** False while the hub's own log has not stored the newest event. */
  recorded: boolean;
}

const RANK: Record<Priority, number> = { high: 0, medium: 1, low: 2, information: 3 };
const CALM: Record<Signal, number> = { on: 0, latched: 1, paused: 2, acknowledged: 3 };

/** Returns an alarm as it is shown, or null where its signal is not to be shown: it is over, or only listed. */
export function shown(alarm: Alarm, recorded: boolean): ShownAlarm | null {
  const { signal, ...rest } = alarm;
  const presence = signal?.presence ?? (alarm.presence === 'present' ? 'on' : 'off');
  if (presence === 'off' || signal?.activation === 'off' || signal?.under) return null;
  const paused = presence === 'on' && signal?.activation === 'paused';
  return {
    ...rest,
    priority: signal?.priority ?? alarm.priority,
    signal: paused ? 'paused' : presence,
    pausedUntil: signal?.activation_until ? Date.parse(signal.activation_until) : null,
    acknowledgedBy: signal?.acknowledged_by ?? null,
    count: signal?.count ?? 1,
    recorded,
  };
}

/** Sorts the most urgent first: what nobody looked after, by priority, patients before devices, newest first. */
export function byUrgency(a: ShownAlarm, b: ShownAlarm): number {
  return (
    Number(CALM[a.signal] > 1) - Number(CALM[b.signal] > 1) ||
    RANK[a.priority] - RANK[b.priority] ||
    CALM[a.signal] - CALM[b.signal] ||
    Number(a.kind === 'technical') - Number(b.kind === 'technical') ||
    (a.onset < b.onset ? 1 : a.onset > b.onset ? -1 : 0) ||
    (a.parameter ?? '').localeCompare(b.parameter ?? '') ||
    (a.id < b.id ? -1 : 1)
  );
}

/** A number to sort beds by: 0 is the most urgent. */
export function urgency(alarm: ShownAlarm | undefined): number {
  if (alarm === undefined) return 100;
  const looked = CALM[alarm.signal] > 1 ? 10 : 0;
  return looked + RANK[alarm.priority] * 2 + Number(alarm.kind === 'technical');
}

/** The priority to sound now, or null for silence: only what nobody acknowledged or paused sounds. */
export function sounding(alarms: Iterable<ShownAlarm>): Priority | null {
  let loudest: Priority | null = null;
  for (const alarm of alarms) {
    if (alarm.signal !== 'on' && alarm.signal !== 'latched') continue;
    if (loudest === null || RANK[alarm.priority] < RANK[loudest]) loudest = alarm.priority;
  }
  return loudest === 'information' ? null : loudest;
}
