/** Calls to /api/v1. */

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
  ) {
    super(detail || title);
  }
}

let csrf = '';

export function useCsrf(token: string): void {
  csrf = token;
}

let whenRefused: () => void = () => undefined;

/** Calls back when the hub no longer takes this session. */
export function onRefused(callback: () => void): void {
  whenRefused = callback;
}

export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET') headers['x-csrf-token'] = csrf;
  let answer: Response;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      // What a person does goes before what a view reads: few connections are free beside the streams.
      priority: method === 'GET' ? 'auto' : 'high',
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ?? AbortSignal.timeout(10_000),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Problem(0, 'unreachable', '');
  }
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T;
  const said = (await answer.json().catch(() => ({}))) as { title?: string; detail?: unknown };
  if (answer.status === 401 && !path.startsWith('/session')) whenRefused();
  throw new Problem(
    answer.status,
    said.title ?? answer.statusText,
    typeof said.detail === 'string' ? said.detail : '',
  );
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>('GET', path, undefined, signal);
export const post = <T>(path: string, body: unknown = {}) => call<T>('POST', path, body);

/** Makes a query string, leaving out what is undefined. */
export function query(parts: Record<string, string | number | undefined>): string {
  const known = Object.entries(parts).filter(([, value]) => value !== undefined);
  return known.length === 0 ? '' : '?' + new URLSearchParams(known.map(([key, value]) => [key, String(value)]));
}
