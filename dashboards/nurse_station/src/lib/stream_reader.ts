/** Reads server-sent events of one address until it ends or is stopped. */

import { EventParser, type ServerEvent } from './server_events';

/** Returns the status of an answer that is no stream, or 200 when the stream ended. */
export async function readEvents(
  address: string,
  headers: Record<string, string>,
  signal: AbortSignal,
  take: (event: ServerEvent) => void,
  heard: () => void = () => undefined,
): Promise<number> {
  const answer = await fetch(address, {
    headers: { accept: 'text/event-stream', ...headers },
    credentials: 'same-origin',
    cache: 'no-store',
    signal,
  });
  if (!answer.ok || answer.body === null) return answer.status;
  const parser = new EventParser();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return 200;
    heard();
    for (const event of parser.push(value)) take(event);
  }
}
