import { beforeEach, expect, test, vi } from 'vitest';

import { Beat } from './beat';

let waiting: ((stamp: number) => void)[];

beforeEach(() => {
  waiting = [];
  vi.stubGlobal('requestAnimationFrame', (draw: (stamp: number) => void) => waiting.push(draw));
});

function frame(stamp: number): void {
  for (const draw of waiting.splice(0)) draw(stamp);
}

test('everybody is called in the same frames, every second one of a usual screen', () => {
  const beat = new Beat();
  const told: string[] = [];
  beat.follow((stamp) => told.push(`a${stamp}`));
  frame(100);
  beat.follow((stamp) => told.push(`b${stamp}`));
  for (const stamp of [117, 133, 150, 167]) frame(stamp);
  expect(told).toEqual(['a100', 'a133', 'b133', 'a167', 'b167']);
});

test('whoever left is not called, and no frame is asked for when nobody is left or twice for who came back', () => {
  const beat = new Beat();
  const told: number[] = [];
  beat.follow((stamp) => told.push(stamp))();
  beat.follow((stamp) => told.push(stamp));
  expect(waiting.length).toBe(1);
  frame(100);
  expect(told).toEqual([100]);
  const other = new Beat();
  waiting = [];
  other.follow(() => undefined)();
  frame(200);
  expect(waiting).toEqual([]);
});
