import { expect, test } from 'vitest';

import { penAt, Sweep, type Window } from './sweep';

function window_(second: number, samples: number[], rate = 10): Window {
  return {
    waveform: 'ecg_ii', time: new Date(Date.UTC(2026, 10, 24, 2, 43, second)).toISOString(), rate, scale: 0.5, offset: 1,
    unit: 'mV', samples,
  };
}

const SECOND = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

test('windows that follow each other play without a gap, scaled, at their own pace', () => {
  const sweep = new Sweep();
  sweep.add(window_(0, SECOND));
  expect(sweep.take(100)).toEqual([]);
  sweep.add(window_(1, SECOND));
  sweep.add(window_(2, SECOND));
  const played = [];
  for (let at = 100; at <= 106; at += 0.05) played.push(...sweep.take(at));
  expect(played).toEqual([...SECOND, ...SECOND, ...SECOND].map((sample) => sample * 0.5 + 1));
});

test('a window that never came is a gap and not a line', () => {
  const sweep = new Sweep();
  sweep.add(window_(0, SECOND));
  sweep.add(window_(2, SECOND));
  sweep.take(0);
  const played = [];
  for (let at = 0; at <= 8; at += 0.1) played.push(...sweep.take(at));
  expect(played.slice(10, 20)).toEqual(new Array(10).fill(null));
  expect(played.length).toBe(30);
});

test('a window that comes twice is drawn once', () => {
  const sweep = new Sweep();
  sweep.add(window_(0, SECOND));
  sweep.add(window_(1, SECOND));
  sweep.add(window_(0, SECOND));
  sweep.take(0);
  const played = [];
  for (let at = 0; at <= 8; at += 0.1) played.push(...sweep.take(at));
  expect(played.length).toBe(20);
});

test('pens of curves that began at different times stand side by side, and begin anew at the left', () => {
  const pen = (began: number, now: number) => (penAt(began, 95, 1000) + (now - began) * 95) % 1000;
  expect(pen(3.2, 20)).toBeCloseTo(penAt(20, 95, 1000));
  expect(pen(7.9, 20)).toBeCloseTo(penAt(20, 95, 1000));
  expect(penAt(1000 / 95, 95, 1000)).toBeCloseTo(0);
});
