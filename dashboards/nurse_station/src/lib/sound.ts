/**
 * Alarm sounds, made with Web Audio. Bursts after IEC 60601-1-8: ten pulses for high, three for medium, two for
 * low; a fundamental with four harmonics, so that they are found in a room and heard with hearing loss.
 */

import type { Priority } from './contracts';

export type Tone = Priority | 'broken';

interface Burst {
  /** Start of each pulse in s and its pitch in Hz. */
  pulses: [number, number][];
  /** Length of a pulse in s. */
  pulse: number;
  /** From the start of one burst to the next, in s. */
  every: number;
}

const C = 523.25;
const G = 392;
const HIGH = [0, 0.2, 0.4, 0.75, 0.95, 1.8, 2.0, 2.2, 2.55, 2.75];
const BURSTS: Record<Exclude<Tone, 'information'>, Burst> = {
  high: { pulses: HIGH.map((at) => [at, C]), pulse: 0.13, every: 7 },
  medium: { pulses: [[0, C], [0.32, C], [0.64, C]], pulse: 0.2, every: 9 },
  low: { pulses: [[0, C], [0.4, G]], pulse: 0.2, every: 20 },
  // Like none of the patients' alarms: a falling pair that does not stop.
  broken: { pulses: [[0, 660], [0.3, 330]], pulse: 0.26, every: 2 },
};

export class Sound {
  #context: AudioContext | null = null;
  #wave: PeriodicWave | null = null;
  #gain: GainNode | null = null;
  #tone: Tone | null = null;
  #next = 0;
  /** Bursts begun, for whoever wants to know that it sounds. */
  bursts = 0;

  /** True when the browser lets no sound out: it wants a key or a click first. */
  get blocked(): boolean {
    return this.#context === null || this.#context.state !== 'running';
  }

  /** Call it in a handler of a key or a click. */
  async unblock(): Promise<void> {
    if (this.#context === null) {
      this.#context = new AudioContext();
      this.#gain = this.#context.createGain();
      this.#gain.connect(this.#context.destination);
      const overtones = new Float32Array([0, 1, 0.7, 0.5, 0.35, 0.25]);
      this.#wave = this.#context.createPeriodicWave(new Float32Array(overtones.length), overtones);
    }
    await this.#context.resume();
  }

  volume(volume: number): void {
    if (this.#gain !== null) this.#gain.gain.value = volume * 0.5;
  }

  /** Call it several times a second with what is to sound now. */
  play(tone: Tone | null): void {
    const context = this.#context;
    if (context === null || context.state !== 'running') return;
    if (tone !== this.#tone) {
      this.#tone = tone;
      this.#next = 0;
    }
    if (tone === null || tone === 'information' || context.currentTime < this.#next) return;
    const burst = BURSTS[tone];
    this.#next = context.currentTime + burst.every;
    this.bursts += 1;
    for (const [at, pitch] of burst.pulses) this.#pulse(context, context.currentTime + 0.02 + at, pitch, burst.pulse);
  }

  #pulse(context: AudioContext, at: number, pitch: number, length: number): void {
    const tone = context.createOscillator();
    const envelope = context.createGain();
    if (this.#wave !== null) tone.setPeriodicWave(this.#wave);
    tone.frequency.value = pitch;
    envelope.gain.setValueAtTime(0, at);
    envelope.gain.linearRampToValueAtTime(1, at + 0.02);
    envelope.gain.setValueAtTime(1, at + length - 0.03);
    envelope.gain.linearRampToValueAtTime(0, at + length);
    tone.connect(envelope);
    if (this.#gain !== null) envelope.connect(this.#gain);
    tone.start(at);
    tone.stop(at + length + 0.02);
    tone.onended = () => envelope.disconnect();
  }
}
