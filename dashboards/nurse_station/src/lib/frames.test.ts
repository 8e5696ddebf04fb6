import { beforeEach, expect, test, vi } from 'vitest';

import { Frames } from './frames';

let waiting: (() => void)[];
let page: { hidden: boolean };

beforeEach(() => {
  waiting = [];
  page = { hidden: false };
  vi.stubGlobal('requestAnimationFrame', (draw: () => void) => waiting.push(draw));
  vi.stubGlobal('document', page);
});

function frame(): void {
  for (const draw of waiting.splice(0)) draw();
}

function filled(n: number): [Frames, number[]] {
  const done: number[] = [];
  const frames = new Frames(2);
  for (let i = 0; i < n; i++) frames.add(() => done.push(i));
  return [frames, done];
}

test('work is done in order, so much a frame, and no frame is asked for when none is left', () => {
  const [, done] = filled(3);
  expect(done).toEqual([]);
  frame();
  expect(done).toEqual([0, 1]);
  frame();
  expect(done).toEqual([0, 1, 2]);
  expect(waiting).toEqual([]);
});

test('flushing does what is left at once and nothing twice; clearing forgets it', () => {
  const [frames, done] = filled(5);
  frame();
  frames.flush();
  expect(done).toEqual([0, 1, 2, 3, 4]);
  frame();
  expect(done.length).toBe(5);
  frames.add(() => done.push(9));
  frames.clear();
  frame();
  expect(done.length).toBe(5);
});

test('a page that nobody sees waits for no frame', () => {
  page.hidden = true;
  const [, done] = filled(3);
  expect(done).toEqual([0, 1, 2]);
});
