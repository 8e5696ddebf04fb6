/** What a person chose for this browser; kept in local storage, never patient data. */

export type Theme = 'dark' | 'light' | 'system';
export type Privacy = 'name' | 'initials' | 'hidden';
export type Order = 'urgency' | 'bed';

export interface Settings {
  theme: Theme;
  language: string;
  hours24: boolean;
  fahrenheit: boolean;
  privacy: Privacy;
  order: Order;
  /** 0 to 1; sound can be turned down, not off, while this page is a ward's station. */
  volume: number;
  /** The ward shown, `site/ward`; all of them where empty. */
  ward: string;
}

const KEY = 'nurse-station';
const FIRST: Settings = {
  theme: 'system',
  language: navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en',
  hours24: true,
  fahrenheit: false,
  privacy: 'initials',
  order: 'bed',
  volume: 0.6,
  ward: '',
};

function load(): Settings {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return typeof kept === 'object' && kept !== null ? { ...FIRST, ...kept } : FIRST;
  } catch {
    return FIRST;
  }
}

export const settings = $state<Settings>(load());

export function choose<K extends keyof Settings>(key: K, value: Settings[K]): void {
  settings[key] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}

const prefersLight = matchMedia('(prefers-color-scheme: light)');
let systemLight = $state(prefersLight.matches);
prefersLight.addEventListener('change', (change) => (systemLight = change.matches));

export function shownTheme(): 'dark' | 'light' {
  if (settings.theme !== 'system') return settings.theme;
  return systemLight ? 'light' : 'dark';
}
