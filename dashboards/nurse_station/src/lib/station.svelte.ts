/** What this station knows: beds, alarms, the alarm path. Fed by the stream, read by every view. */

import { SvelteMap } from 'svelte/reactivity';

import { byUrgency, shown, type ShownAlarm, sounding } from './alarms';
import { get, Problem, query } from './api';
import type { Alarm, AlarmEvent, Bed, BedPump, BedValue, Heartbeat, Reset, Vitals } from './contracts';
import { Frames } from './frames';
import type { ServerEvent } from './server_events';
import { readEvents } from './stream_reader';
import { type Path, Skew, Watch } from './watch';

export class BedState {
  readonly key: string;
  readonly site: string;
  readonly bed: string;
  ward = $state('');
  patient = $state<string | null>(null);
  values = $state.raw<Record<string, BedValue>>({});
  pumps = $state.raw<BedPump[]>([]);
  /** The hub's clock for whatever shows this bed; moves once a second, not in every bed at once. */
  now = $state(0);

  constructor(bed: Bed, now: number) {
    this.key = `${bed.site}/${bed.bed}`;
    this.site = bed.site;
    this.bed = bed.bed;
    this.take(bed, now);
  }

  take(bed: Bed, now: number): void {
    this.now = now;
    this.ward = bed.ward;
    this.patient = bed.patient;
    this.values = bed.values;
    this.pumps = bed.pumps;
  }
}

/** An alarm that began or ended while this station could not see it. */
export interface Missed {
  sequence: number;
  event: string;
  time: string;
  alarm: Alarm;
}

const BEDS_A_FRAME = 8;
/** A bed that sent something so lately has its clock from that. */
const LATELY_MS = 1500;

class Station {
  beds = new SvelteMap<string, BedState>();
  alarms = new SvelteMap<string, ShownAlarm>();
  path = $state<Path>('starting');
  gapMs = $state(0);
  storing = $state(true);
  lagS = $state(0);
  skewMs = $state(0);
  hub = $state('');
  /** This browser's clock; moves once a second. */
  here = $state(Date.now());
  /** The hub's clock as this browser knows it; moves once a second. */
  now = $state(Date.now());
  missed = $state.raw<Missed[]>([]);
  ready = $state(false);
  refused = $state(false);
  /** Rises with every beacon that has moved. */
  moves = $state(0);
  /** Changes with every alarm that a person should hear of. */
  announced = $state<ShownAlarm | null>(null);

  list = $derived([...this.alarms.values()].sort(byUrgency));
  tone = $derived(sounding(this.alarms.values()));
  byBed = $derived.by(() => {
    const beds = new Map<string, ShownAlarm[]>();
    for (const alarm of this.list) {
      if (alarm.bed === null) continue;
      const key = `${alarm.site}/${alarm.bed}`;
      const known = beds.get(key);
      if (known === undefined) beds.set(key, [alarm]);
      else known.push(alarm);
    }
    return beds;
  });

  /** Laying out every bed of a large ward takes longer than a frame. */
  #frames = new Frames(BEDS_A_FRAME);
  #watch = new Watch(performance.now());
  #skew = new Skew();
  #lastId: string | null = null;
  #lastSequence = 0;
  #stop: AbortController | null = null;
  #scope = '';
  #worker: Worker | null = null;
  #awayFrom: number | null = null;
  #tells: (() => void)[] = [];

  /** Follows a ward (`site/ward`), or everything where empty. */
  follow(scope: string): void {
    if (this.#stop !== null && scope === this.#scope) return;
    this.#stop?.abort();
    this.#scope = scope;
    this.#lastId = null;
    this.#frames.clear();
    this.beds.clear();
    this.alarms.clear();
    this.missed = [];
    this.ready = false;
    this.refused = false;
    this.path = 'starting';
    this.#watch = new Watch(performance.now());
    this.#worker ??= this.#ticking();
    this.#stop = new AbortController();
    void this.#run(this.#stop.signal);
  }

  leave(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.#worker?.terminate();
    this.#worker = null;
    this.#frames.clear();
    this.beds.clear();
    this.alarms.clear();
    this.ready = false;
  }

  /** Calls back several times a second, in the background too. */
  onTick(callback: () => void): void {
    this.#tells.push(callback);
  }

  /** The hub's time now, ms since the epoch. */
  hubTime(): number {
    return Date.now() + this.skewMs;
  }

  /** The last alarm event that this station knows of. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  seen(): void {
    this.missed = [];
  }

  #ticking(): Worker {
    const worker = new Worker(new URL('./tick.worker.ts', import.meta.url), { type: 'module' });
    worker.onmessage = () => {
      const now = performance.now();
      this.path = this.#watch.path(now);
      const broken = this.path === 'lost' || this.path === 'silent';
      if (broken) {
        this.gapMs = this.#watch.gap(now);
        this.#awayFrom ??= this.#lastSequence;
      }
      const here = Date.now();
      if (Math.floor(here / 1000) !== Math.floor(this.here / 1000)) {
        this.here = here;
        this.now = here + this.skewMs;
        for (const bed of this.beds.values()) {
          if (this.now - bed.now > LATELY_MS) this.#frames.add(() => (bed.now = this.now));
        }
      }
      for (const tell of this.#tells) tell();
    };
    return worker;
  }

  async #run(signal: AbortSignal): Promise<void> {
    let pause = 250;
    while (!signal.aborted) {
      const heard = await this.#read(signal).catch(() => false);
      if (signal.aborted) return;
      this.#watch.close(performance.now());
      // Refused: the page asks who is signed in; where somebody still is, the stream goes on.
      pause = heard ? 250 : this.refused ? 2000 : Math.min(pause * 2, 2000);
      await new Promise((go) => setTimeout(go, pause * (0.5 + Math.random())));
    }
  }

  /** Reads one connection to its end; true if anything came. */
  async #read(signal: AbortSignal): Promise<boolean> {
    const [site, ward] = this.#scope.split('/');
    // A connection that hangs is given up: the browser alone would wait for minutes.
    const hung = new AbortController();
    let last = performance.now();
    const guard = setInterval(() => {
      if (performance.now() - last > 6000) hung.abort();
    }, 500);
    try {
      const headers: Record<string, string> = this.#lastId === null ? {} : { 'last-event-id': this.#lastId };
      const status = await readEvents(
        '/api/v1/stream' + query({ site: site || undefined, ward }),
        headers,
        AbortSignal.any([signal, hung.signal]),
        (event) => this.#take(event),
        () => (last = performance.now()),
      );
      this.refused = status === 401 || status === 403;
      return status === 200;
    } finally {
      clearInterval(guard);
      hung.abort();
    }
  }

  #take(event: ServerEvent): void {
    switch (event.name) {
      case 'vitals':
        this.#vitals(JSON.parse(event.data) as Vitals);
        break;
      case 'alarm':
      case 'technical':
        this.#alarm(JSON.parse(event.data) as AlarmEvent);
        break;
      case 'reset':
        this.#reset(JSON.parse(event.data) as Reset);
        break;
      case 'location':
        this.moves += 1;
        break;
      case 'heartbeat':
        this.#beat(JSON.parse(event.data) as Heartbeat);
        break;
    }
    // Only after it was taken over: what fails here comes again.
    if (event.id !== null && event.id !== '') {
      this.#lastId = event.id;
      const sequence = Number(event.id.slice(event.id.lastIndexOf('-') + 1));
      if (Number.isFinite(sequence)) this.#lastSequence = Math.max(this.#lastSequence, sequence);
    }
  }

  #vitals(vitals: Vitals): void {
    this.#frames.flush();
    if (vitals.kind === 'snapshot') {
      const present = new Set(vitals.beds.map((bed) => `${bed.site}/${bed.bed}`));
      for (const key of this.beds.keys()) if (!present.has(key)) this.beds.delete(key);
      for (const bed of vitals.beds) this.#update(bed);
      this.ready = true;
    } else {
      for (const bed of vitals.beds) this.#frames.add(() => this.#update(bed));
    }
  }

  #update(bed: Bed): void {
    const key = `${bed.site}/${bed.bed}`;
    const known = this.beds.get(key);
    if (known === undefined) this.beds.set(key, new BedState(bed, this.hubTime()));
    else known.take(bed, this.hubTime());
  }

  #alarm(event: AlarmEvent): void {
    if (this.#awayFrom !== null) this.#note(event);
    const alarm = shown(event.alarm, event.recorded);
    if (event.event === 'end' || alarm === null) {
      this.alarms.delete(event.alarm.id);
      return;
    }
    if (!this.alarms.has(alarm.id)) this.announced = alarm;
    this.alarms.set(alarm.id, alarm);
  }

  #note(event: AlarmEvent): void {
    if (event.event !== 'start' && event.event !== 'end') return;
    if (this.missed.some((one) => one.sequence === event.sequence) || !this.#shows(event.alarm)) return;
    const { sequence, time, alarm } = event;
    this.missed = [...this.missed, { sequence, event: event.event, time, alarm }].slice(-200);
  }

  #shows(alarm: Alarm): boolean {
    if (this.#scope === '') return true;
    return this.#scope === `${alarm.site}/${alarm.ward}` || alarm.ward === null;
  }

  #reset(reset: Reset): void {
    const present = new Map(reset.alarms.map((alarm) => [alarm.id, shown(alarm, true)]));
    for (const id of this.alarms.keys()) if (!present.get(id)) this.alarms.delete(id);
    for (const [id, alarm] of present) if (alarm !== null) this.alarms.set(id, alarm);
    const from = this.#awayFrom ?? (this.#lastId === null ? null : this.#lastSequence);
    // What began and ended meanwhile is in no list of present alarms.
    if (from !== null) void this.#fetchMissed(from);
  }

  async #fetchMissed(after: number): Promise<void> {
    try {
      const page = await get<{ events: AlarmEvent[] }>('/alarms/events' + query({ after }));
      for (const event of page.events) this.#note(event);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }

  #beat(beat: Heartbeat): void {
    this.#watch.beat(performance.now());
    this.#skew.add(Date.parse(beat.time), Date.now());
    this.skewMs = this.#skew.ms;
    this.storing = beat.storing;
    this.lagS = beat.lag_s;
    this.hub = beat.hub;
    this.#lastSequence = Math.max(this.#lastSequence, beat.sequence);
    // Everything before this heartbeat has been taken over, so the gap is closed.
    this.#awayFrom = null;
  }
}

export const station = new Station();
