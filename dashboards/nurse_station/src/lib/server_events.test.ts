import { expect, test } from 'vitest';

import { EventParser } from './server_events';

const TEXT =
  'retry: 1000\n\n: a comment\n\nid: hub-1-ab-42\nevent: alarm\ndata: {"sequence":42}\n\n' +
  'event: heartbeat\r\ndata: {}\r\n\r\nevent: vitals\ndata: one\ndata: two\n\n';

test('however the text is cut, the events are the same', () => {
  const whole = new EventParser().push(TEXT);
  expect(whole).toEqual([
    { name: 'alarm', data: '{"sequence":42}', id: 'hub-1-ab-42' },
    { name: 'heartbeat', data: '{}', id: null },
    { name: 'vitals', data: 'one\ntwo', id: null },
  ]);
  for (let cut = 0; cut <= TEXT.length; cut++) {
    const parser = new EventParser();
    expect([...parser.push(TEXT.slice(0, cut)), ...parser.push(TEXT.slice(cut))]).toEqual(whole);
  }
});

test('an event that is not complete is not told', () => {
  expect(new EventParser().push('event: alarm\ndata: {"a":1}\n')).toEqual([]);
});
