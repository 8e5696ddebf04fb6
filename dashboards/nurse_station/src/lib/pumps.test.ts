import { expect, test } from 'vitest';

import type { ShownAlarm } from './alarms';
import type { BedPump, BedValue } from './contracts';
import { hoursToEmpty, pumpRows } from './pumps';

function held(value: number | string | null, unit = ''): BedValue {
  return { value, unit, quality: 'valid', time: '2026-11-24T02:43:02Z', age_s: 0, device: 'pump-1' };
}

function pump(device: string, values: Record<string, number | string | null>, channel: string | null = null): BedPump {
  return { device, channel, values: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, held(value)])) };
}

const alarm = (device: string, part = '') => ({ device, part, condition: 'occlusion' }) as ShownAlarm;

test('each pump is a row of its own, and two of one drug are told apart', () => {
  const rows = pumpRows([pump('pump-2', { pump_drug: 'Saline' }), pump('pump-1', { pump_drug: 'Saline' })], []);
  expect(rows.map((row) => [row.key, row.drug])).toEqual([
    ['pump-1', 'Saline'],
    ['pump-2', 'Saline'],
  ]);
});

test('what is in trouble comes first, then what is empty soonest, the others keep their places', () => {
  const rows = pumpRows(
    [
      pump('a', { pump_flow_rate: 10, pump_volume_remaining: 100 }),
      pump('b', { pump_flow_rate: 10, pump_volume_remaining: 4 }),
      pump('c', { pump_flow_rate: 10, pump_volume_remaining: 2 }),
      pump('d', { pump_flow_rate: 10, pump_volume_remaining: 50 }),
      pump('e', { occlusion: 'present' }),
    ],
    [],
  );
  expect(rows.map((row) => row.key).join('')).toBe('ecbad');
  expect(rows[0]?.trouble).toBe('occlusion');
});

test('an alarm belongs to its pump, of a rack to its channel', () => {
  const rack = [pump('rack', { pump_flow_rate: 1 }, 'a'), pump('rack', { pump_flow_rate: 2 }, 'b'), pump('alone', {})];
  const marked = (alarms: ShownAlarm[]) => pumpRows(rack, alarms).filter((row) => row.alarm !== null).map((row) => row.key);
  expect(marked([alarm('rack', 'b')])).toEqual(['rack/b']);
  expect(marked([alarm('alone')])).toEqual(['alone']);
});

test('a pump that does not run, or whose rest is unknown, is never about to be empty', () => {
  expect(hoursToEmpty(held(40), held(80))).toBe(0.5);
  expect(hoursToEmpty(held(40), held(0))).toBeNull();
  expect(hoursToEmpty(held(null), held(80))).toBeNull();
  expect(hoursToEmpty(undefined, held(80))).toBeNull();
  const [paused] = pumpRows([pump('a', { pump_status: 'paused', pump_flow_rate: 10, pump_volume_remaining: 2 })], []);
  expect(paused?.hours).toBeNull();
});
