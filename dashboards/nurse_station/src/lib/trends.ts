/** Stored values, down-sampled by the hub into equal steps. */

import { get, query } from './api';

export interface Trend {
  unit: string;
  /** ms since the epoch: the middle of each step, steps without a value too. */
  times: number[];
  minimum: (number | null)[];
  mean: (number | null)[];
  maximum: (number | null)[];
}

export interface TrendQuery {
  bed: { site: string; bed: string; patient: string | null };
  /** One pump alone. */
  device?: string;
  parameter: string;
  from: number;
  to: number;
  points: number;
}

interface Answer {
  unit: string;
  from: string;
  step_s: number;
  points: { time: string; minimum: number; mean: number; maximum: number }[];
}

/**
 * Asks for one parameter: of the patient in the bed, who may have come from another one and never had what was
 * measured there before; of the bed itself where nobody is in it. Two answers for the same time and number of
 * points have the same `times`.
 */
export async function trend(wanted: TrendQuery, signal?: AbortSignal): Promise<Trend> {
  const { site, bed, patient } = wanted.bed;
  const whose = patient === null ? { site, bed } : { patient, site: wanted.device === undefined ? undefined : site };
  const answer = await get<Answer>(
    '/trends' +
      query({
        ...whose,
        device: wanted.device,
        parameter: wanted.parameter,
        from: new Date(wanted.from).toISOString(),
        to: new Date(wanted.to).toISOString(),
        points: wanted.points,
      }),
    signal,
  );
  const step = answer.step_s * 1000;
  const nothing = () => new Array<number | null>(wanted.points).fill(null);
  const [minimum, mean, maximum] = [nothing(), nothing(), nothing()];
  for (const point of answer.points) {
    const place = Math.round((Date.parse(point.time) - wanted.from) / step);
    if (place < 0 || place >= wanted.points) continue;
    minimum[place] = point.minimum;
    mean[place] = point.mean;
    maximum[place] = point.maximum;
  }
  const times = Array.from({ length: wanted.points }, (_, place) => wanted.from + (place + 0.5) * step);
  return { unit: answer.unit, times, minimum, mean, maximum };
}
