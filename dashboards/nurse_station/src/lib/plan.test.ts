import { expect, test } from 'vitest';

import { scaleOf, spaceIn } from './plan';

const space = { width: 1000, height: 500, gap: 10, title: 30 };

test('one plan fills the width or the height, whichever is short', () => {
  expect(scaleOf([{ width: 20, height: 5 }], space, 10, 200)).toBeCloseTo(50, 0);
  expect(scaleOf([{ width: 5, height: 10 }], space, 10, 200)).toBeCloseTo(47, 0);
});

test('several plans stand in rows, as large as all of them fit', () => {
  const four = Array.from({ length: 4 }, () => ({ width: 10, height: 10 }));
  const scale = scaleOf(four, space, 1, 200);
  // Four in one row of 235 pixels are larger than two rows of two.
  expect(scale).toBeCloseTo(24, 0);
  expect(scaleOf(four.slice(0, 2), space, 1, 200)).toBeCloseTo(47, 0);
});

test('a plan never becomes too small to read nor too large', () => {
  expect(scaleOf([{ width: 200, height: 5 }], space, 20, 90)).toBe(20);
  expect(scaleOf([{ width: 3, height: 3 }], space, 20, 90)).toBe(90);
});

test('a rectangular room is space all over', () => {
  expect(spaceIn([[6, 0], [12, 0], [12, 5], [6, 5]])).toEqual({ x: 6, y: 0, width: 6, height: 5 });
});

test('of an L-shaped room the larger arm is space', () => {
  const outline: [number, number][] = [[0, 0], [8, 0], [8, 3], [3, 3], [3, 7], [0, 7]];
  expect(spaceIn(outline)).toEqual({ x: 0, y: 0, width: 8, height: 3 });
});
