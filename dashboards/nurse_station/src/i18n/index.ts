/** The words of the language that was chosen. A further language is one more file and one line here. */

import { settings } from '../lib/settings.svelte';
import { en, type Words } from './en';
import { zh } from './zh';

export const LANGUAGES: Record<string, Words> = { en, zh };

export const LOCALES: Record<string, string> = { en: 'en', zh: 'zh-CN' };

/** Reactive: a view that calls it follows the choice. */
export function words(): Words {
  return LANGUAGES[settings.language] ?? en;
}
