import { expect, test } from 'vitest';

import { byUrgency, shown, type ShownAlarm, sounding } from './alarms';
import type { Alarm } from './contracts';

function alarm(id: string, changes: Partial<Alarm> = {}): Alarm {
  return {
    id, kind: 'physiological', priority: 'medium', condition: 'limit_high', parameter: 'heart_rate', site: 'main',
    device: 'mon-1', ward: 'icu', bed: 'icu-01', patient: null, onset: '2026-11-24T02:43:02Z', presence: 'present',
    value: 130, limit: 120, unit: '/min', text: '', ended: null, part: '', ...changes,
  };
}

function order(...alarms: Alarm[]): string {
  return alarms
    .map((one) => shown(one, true))
    .filter((one): one is ShownAlarm => one !== null)
    .sort(byUrgency)
    .map((one) => one.id)
    .join(' ');
}

const acknowledged = { presence: 'acknowledged', priority: 'high', activation: 'on' } as const;

test('what nobody looked after comes first, however low', () => {
  expect(order(alarm('a', { priority: 'high', signal: acknowledged }), alarm('b', { priority: 'low' }))).toBe('b a');
});

test('by priority, patients before devices, the newest first', () => {
  const old = alarm('old', { priority: 'high' });
  const young = alarm('young', { priority: 'high', onset: '2026-11-24T02:44:00Z' });
  const device = alarm('device', { priority: 'high', kind: 'technical', onset: '2026-11-24T02:45:00Z' });
  expect(order(alarm('low', { priority: 'low' }), device, old, young)).toBe('young old device low');
});

test('a condition that is over is shown as long as its signal is latched, and not a moment longer', () => {
  const over = { presence: 'absent' as const };
  expect(shown(alarm('a', { ...over, signal: { presence: 'latched', priority: 'high' } }), true)?.signal).toBe('latched');
  expect(shown(alarm('a', { ...over, signal: { presence: 'off' } }), true)).toBeNull();
  expect(shown(alarm('a', over), true)).toBeNull();
});

test('a paused alarm is seen and not heard', () => {
  const paused = shown(
    alarm('a', { signal: { presence: 'on', activation: 'paused', activation_until: '2026-11-24T02:45:02Z' } }),
    true,
  );
  expect(paused?.signal).toBe('paused');
  expect(paused?.pausedUntil).toBe(Date.parse('2026-11-24T02:45:02Z'));
  expect(sounding(paused === null ? [] : [paused])).toBeNull();
});

test('the loudest alarm that nobody acknowledged sounds', () => {
  const list = [
    shown(alarm('a', { priority: 'high', signal: acknowledged }), true),
    shown(alarm('b', { priority: 'low' }), true),
    shown(alarm('c', { priority: 'medium' }), true),
    shown(alarm('d', { priority: 'information' }), true),
  ].filter((one): one is ShownAlarm => one !== null);
  expect(sounding(list)).toBe('medium');
  expect(sounding(list.filter((one) => one.id === 'd'))).toBeNull();
});
