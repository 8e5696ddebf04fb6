import { expect, test } from 'vitest';

import { LOST_MS, SILENT_MS, Skew, Watch } from './watch';

test('a station that hears nothing says so within five seconds, with the tick that looks', () => {
  const TICK = 250;
  expect(SILENT_MS + TICK).toBeLessThan(5000);
  const watch = new Watch(0);
  watch.beat(1000);
  expect(watch.path(1000 + SILENT_MS)).toBe('sound');
  expect(watch.path(1001 + SILENT_MS)).toBe('silent');
  expect(watch.gap(7000)).toBe(6000);
});

test('a station that never heard the hub says so too', () => {
  const watch = new Watch(0);
  expect(watch.path(100)).toBe('starting');
  expect(watch.path(SILENT_MS + 1)).toBe('silent');
});

test('a stream that closes is given a moment to come back, and a heartbeat heals it', () => {
  const watch = new Watch(0);
  watch.beat(1000);
  watch.close(1100);
  watch.close(1500);
  expect(watch.path(1100 + LOST_MS)).toBe('sound');
  expect(watch.path(1101 + LOST_MS)).toBe('lost');
  watch.beat(4000);
  expect(watch.path(4000)).toBe('sound');
});

test('the skew is that of the heartbeat with the least delay', () => {
  const skew = new Skew();
  for (const delay of [40, 5, 300]) skew.add(10_000, 7_000 + delay);
  expect(skew.ms).toBe(2995);
  for (let i = 0; i < 15; i++) skew.add(10_000, 10_020);
  expect(skew.ms).toBe(-20);
});
