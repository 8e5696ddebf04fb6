/** The pumps of a bed as rows, each with its own alarm. Pure. */

import type { ShownAlarm } from './alarms';
import type { BedPump, BedValue } from './contracts';

export type Trouble = 'occlusion' | 'airInLine' | 'stopped';

export interface PumpRow {
  key: string;
  /** What is infused; null where the pump does not tell. */
  drug: string | null;
  /** Which pump it is: the device, and its channel where it has several. */
  name: string;
  values: Record<string, BedValue>;
  /** The most urgent alarm of this pump that is shown. */
  alarm: ShownAlarm | null;
  /** What the pump itself says, where no alarm says it. */
  trouble: Trouble | null;
  /** What it is doing; null where that is not known now. */
  status: string | null;
  /** Until it is empty; null where that can't be known. */
  hours: number | null;
}

/** What ends within half an hour is worth a look. */
export const SOON_H = 0.5;

/** Returns a row for each pump: what is in trouble first, then what is empty soonest, the others in their places. */
export function pumpRows(pumps: BedPump[], alarms: ShownAlarm[]): PumpRow[] {
  return pumps.map((pump) => row(pump, alarms)).sort((a, b) => need(a) - need(b) || (a.key < b.key ? -1 : 1));
}

function row({ device, channel, values }: BedPump, alarms: ShownAlarm[]): PumpRow {
  const said = (parameter: string) => {
    const value = values[parameter]?.value;
    return typeof value === 'string' ? value : null;
  };
  const status = said('pump_status');
  return {
    key: channel === null ? device : `${device}/${channel}`,
    drug: said('pump_drug'),
    name: channel === null ? device : `${device} ${channel}`,
    values,
    alarm: alarms.find((alarm) => alarm.device === device && (channel === null || alarm.part === channel)) ?? null,
    trouble:
      said('occlusion') === 'present'
        ? 'occlusion'
        : said('air_in_line') === 'present'
          ? 'airInLine'
          : status === 'alarm'
            ? 'stopped'
            : null,
    status,
    hours: status === 'infusing' || status === null ? hoursToEmpty(values.pump_volume_remaining, values.pump_flow_rate) : null,
  };
}

function need(one: PumpRow): number {
  if (one.alarm !== null || one.trouble !== null) return -1;
  return one.hours !== null && one.hours < SOON_H ? one.hours : SOON_H;
}

/** Hours until a pump is empty, or null where that can't be known. */
export function hoursToEmpty(remaining: BedValue | undefined, rate: BedValue | undefined): number | null {
  if (typeof remaining?.value !== 'number' || typeof rate?.value !== 'number' || rate.value <= 0) return null;
  return remaining.value / rate.value;
}
