/** What an alarm says, in the language of this station. */

import { words } from '../i18n';
import type { Alarm } from './contracts';
import { largest } from './format';
import { lookOf, unitText } from './parameters';
import { settings } from './settings.svelte';
import { station } from './station.svelte';

export function parameterName(parameter: string): string {
  return words().parameters[parameter] ?? parameter.replaceAll('_', ' ');
}

function number(value: number, parameter: string | null, unit: string | null): string {
  if (unit === 'Cel' && settings.fahrenheit) return (value * 1.8 + 32).toFixed(1);
  return value.toFixed(parameter === null ? 1 : lookOf(parameter).digits);
}

/** One line, for instance `SpO₂ 84 % < 90`; the hub's own text where this page knows no better. */
export function alarmText(alarm: Omit<Alarm, 'signal'>): string {
  const label = alarm.parameter === null ? '' : lookOf(alarm.parameter).label;
  if (/limit_(low|high)/.test(alarm.condition) && typeof alarm.value === 'number' && alarm.limit !== null) {
    const unit = alarm.unit === 'Cel' && settings.fahrenheit ? '°F' : unitText(alarm.unit ?? '');
    const sign = alarm.condition.includes('low') ? '<' : '>';
    const value = number(alarm.value, alarm.parameter, alarm.unit);
    return `${label} ${value} ${unit} ${sign} ${number(alarm.limit, alarm.parameter, alarm.unit)}`;
  }
  const said = words().condition[alarm.condition];
  if (said !== undefined) return said(label === '' ? alarm.device : label);
  return alarm.text === '' ? alarm.condition.replaceAll('_', ' ') : alarm.text;
}

/** The same, and of a pump's alarm what it infuses: a bed may have several. */
export function alarmLine(alarm: Omit<Alarm, 'signal'>): string {
  const bed = alarm.bed === null ? undefined : station.beds.get(`${alarm.site}/${alarm.bed}`);
  const pump = bed?.pumps.find(
    ({ device, channel }) => device === alarm.device && (channel === null || channel === alarm.part),
  );
  const drug = pump?.values.pump_drug?.value;
  return typeof drug === 'string' ? `${alarmText(alarm)} · ${drug}` : alarmText(alarm);
}

/** 9 s, 3 min, 2 h, 4 d. */
export function span(ms: number): string {
  const [number, unit] = largest(ms);
  return `${number} ${words().units[unit]}`;
}

/** A code as people read it. */
export function codeName(parameter: string, code: string): string {
  const w = words();
  if (parameter === 'pump_status') return w.pumpState[code] ?? code;
  if (parameter === 'acvpu') return w.acvpu[code] ?? code;
  return w.codes[code] ?? code;
}
