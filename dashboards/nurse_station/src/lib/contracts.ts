/** The shapes of hub/contracts/stream-*.schema.json and of /api/v1, as far as this page uses them. */

export type Quality = 'valid' | 'questionable' | 'invalid' | 'no-value' | 'stale';
export type Priority = 'high' | 'medium' | 'low' | 'information';
/** How people sign in at this hub; `openid` is the button's text, empty for the page's own. */
export interface SignInMethods {
  local: boolean;
  openid: string | null;
}

export type Role = 'nurse' | 'charge-nurse' | 'biomed' | 'it' | 'viewer';

export interface BedValue {
  /** null when there is no valid value: never a number that can't be relied on. */
  value: number | string | null;
  unit: string;
  time: string;
  quality: Quality;
  age_s: number;
  device: string;
}

/** One pump, or one channel of a pump that has several. */
export interface BedPump {
  device: string;
  channel: string | null;
  values: Record<string, BedValue>;
}

export interface Bed {
  site: string;
  ward: string;
  bed: string;
  patient: string | null;
  values: Record<string, BedValue>;
  pumps: BedPump[];
}

export interface Vitals {
  kind: 'snapshot' | 'update';
  time: string;
  beds: Bed[];
}

export interface Alarm {
  id: string;
  kind: 'physiological' | 'technical';
  priority: Priority;
  condition: string;
  parameter: string | null;
  site: string;
  device: string;
  ward: string | null;
  bed: string | null;
  patient: string | null;
  onset: string;
  presence: 'present' | 'absent';
  value: number | string | null;
  limit: number | null;
  unit: string | null;
  text: string;
  ended: string | null;
  /** The part of the device that it is about, for instance a pump's channel; empty for the whole. */
  part: string;
  signal?: AlarmSignal | null;
}

/** What people see and hear of an alarm, apart from the condition itself. */
export interface AlarmSignal {
  presence: 'off' | 'on' | 'acknowledged' | 'latched';
  priority?: Priority;
  activation?: 'on' | 'paused' | 'off';
  activation_until?: string | null;
  acknowledged_by?: string | null;
  acknowledged_until?: string | null;
  /** How often the condition came in this episode. */
  count?: number;
  /** The alarm that stands for this one, for instance that of a lost gateway. */
  under?: string | null;
}

export interface AlarmEvent {
  sequence: number;
  event: string;
  time: string;
  recorded: boolean;
  /** The person who did it, or hub. */
  who?: string | null;
  /** The reason, or the comment. */
  why?: string | null;
  alarm: Alarm;
}

export interface Reset {
  reason: string;
  alarms: Alarm[];
}

export interface Heartbeat {
  time: string;
  hub: string;
  sequence: number;
  storing: boolean;
  lag_s: number;
}

export interface Session {
  user: string;
  name: string;
  role: Role;
  /** Sent back as X-CSRF-Token with everything that changes something. */
  csrf: string;
  /** False once nobody has touched the station for a while: it shows alarms and does nothing else. */
  active: boolean;
  idle_s: number;
  /** What this role may call, for instance `POST /api/v1/alarms/{}/acknowledge`. */
  actions: string[];
}
