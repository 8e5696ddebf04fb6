/** Numbers, times and ages as people read them. Pure. */

import type { BedValue } from './contracts';
import { lookOf, unitText } from './parameters';

/** What stands where a value would, when there is none: never a number. */
export const NO_VALUE = '– –';

export interface Shown {
  text: string;
  unit: string;
  /** fresh, questionable (shown with a mark) or none (no number is shown). */
  state: 'fresh' | 'questionable' | 'none';
}

export function shownValue(parameter: string, held: BedValue | undefined, fahrenheit: boolean): Shown {
  if (held === undefined) return { text: NO_VALUE, unit: '', state: 'none' };
  const unit = unitText(held.unit);
  if (held.value === null || (held.quality !== 'valid' && held.quality !== 'questionable')) {
    return { text: NO_VALUE, unit, state: 'none' };
  }
  const state = held.quality === 'questionable' ? 'questionable' : 'fresh';
  if (typeof held.value === 'string') return { text: held.value, unit: '', state };
  if (held.unit === 'Cel' && fahrenheit) {
    return { text: (held.value * 1.8 + 32).toFixed(1), unit: '°F', state };
  }
  return { text: held.value.toFixed(lookOf(parameter).digits), unit, state };
}

/** A duration in its largest whole unit. */
export function largest(ms: number): [number, 's' | 'min' | 'h' | 'd'] {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return [s, 's'];
  if (s < 3600) return [Math.floor(s / 60), 'min'];
  if (s < 86_400) return [Math.floor(s / 3600), 'h'];
  return [Math.floor(s / 86_400), 'd'];
}

/** 0:09, 3:07, 1:02:30: a running time. */
export function running(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, '0');
  const minutes = Math.floor(s / 60) % 60;
  return s < 3600 ? `${minutes}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(minutes)}:${two(s % 60)}`;
}

export function clock(ms: number, hours24: boolean, seconds = false): string {
  return new Date(ms).toLocaleTimeString(hours24 ? 'en-GB' : 'en-US', {
    hour: hours24 ? '2-digit' : 'numeric',
    minute: '2-digit',
    second: seconds ? '2-digit' : undefined,
    hour12: !hours24,
  });
}

export function dayAndClock(ms: number, hours24: boolean, now: number): string {
  const time = clock(ms, hours24);
  if (new Date(ms).toDateString() === new Date(now).toDateString()) return time;
  const day = new Date(ms);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${two(day.getMonth() + 1)}-${two(day.getDate())} ${time}`;
}

/** A name as initials: two people of one ward differ, and a visitor learns nothing. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s,]+/).filter(Boolean);
  if (/\p{Script=Han}/u.test(name)) return (words[0]?.[0] ?? '') + '**';
  return words.map((word) => (/^\d/.test(word) ? word : (word[0] ?? '').toUpperCase() + '.')).join(' ');
}
