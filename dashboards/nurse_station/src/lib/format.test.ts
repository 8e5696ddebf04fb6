import { expect, test } from 'vitest';

import type { BedValue, Quality } from './contracts';
import { initials, NO_VALUE, running, shownValue } from './format';

function held(value: number | string | null, unit = '/min', quality: Quality = 'valid'): BedValue {
  return { value, unit, quality, time: '2026-11-24T02:43:02Z', age_s: 0, device: 'mon-1' };
}

test('what is stale, invalid or missing is never a number', () => {
  for (const quality of ['stale', 'invalid', 'no-value'] as const) {
    expect(shownValue('heart_rate', held(72, '/min', quality), false).text).toBe(NO_VALUE);
  }
  expect(shownValue('heart_rate', held(null), false).text).toBe(NO_VALUE);
  expect(shownValue('heart_rate', undefined, false).text).toBe(NO_VALUE);
  expect(NO_VALUE).not.toMatch(/\d/);
});

test('zero is a value, and a questionable value is marked', () => {
  expect(shownValue('heart_rate', held(0), false)).toEqual({ text: '0', unit: '/min', state: 'fresh' });
  expect(shownValue('spo2', held(91, '%', 'questionable'), false).state).toBe('questionable');
});

test('temperatures follow the choice of unit', () => {
  expect(shownValue('temperature', held(38.2, 'Cel'), false)).toMatchObject({ text: '38.2', unit: '°C' });
  expect(shownValue('temperature', held(38.2, 'Cel'), true)).toMatchObject({ text: '100.8', unit: '°F' });
});

test('initials tell the patients of a ward apart and give no name away', () => {
  expect(initials('Ada Lindqvist')).toBe('A. L.');
  expect(initials('Demo Patient 07')).toBe('D. P. 07');
  expect(initials('李 秀英')).toBe('李**');
  expect(initials('王秀英')).toBe('王**');
});

test('running times', () => {
  expect([9_000, 187_000, 3_750_000, -5].map(running)).toEqual(['0:09', '3:07', '1:02:30', '0:00']);
});
