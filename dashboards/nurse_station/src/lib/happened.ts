/** What happened to alarms: events of one bed, put together by alarm. */

import { get, query } from './api';
import type { Alarm, AlarmEvent } from './contracts';

export interface Story {
  alarm: Alarm;
  began: number;
  ended: number | null;
  events: AlarmEvent[];
}

const MOST = 5000;

/** Returns the events of a place up to `last`, as far back as one page goes. */
export async function recentEvents(last: number, of: { site?: string; ward?: string; bed?: string }): Promise<AlarmEvent[]> {
  const answer = await get<{ events: AlarmEvent[] }>(
    '/alarms/events' + query({ ...of, after: Math.max(0, last - MOST), limit: MOST }),
  );
  return answer.events;
}

/** Puts events together by alarm, newest first. */
export function stories(events: AlarmEvent[], takes: (alarm: Alarm) => boolean): Story[] {
  const byAlarm = new Map<string, Story>();
  for (const event of events) {
    if (!takes(event.alarm)) continue;
    const known = byAlarm.get(event.alarm.id);
    if (known === undefined) {
      const began = Date.parse(event.alarm.onset);
      byAlarm.set(event.alarm.id, { alarm: event.alarm, began, ended: null, events: [event] });
    } else {
      known.alarm = event.alarm;
      known.events.push(event);
    }
    const story = byAlarm.get(event.alarm.id);
    if (story !== undefined && event.event === 'end') {
      story.ended = Date.parse(event.alarm.ended ?? event.time);
    }
  }
  return [...byAlarm.values()].sort((a, b) => b.began - a.began);
}
