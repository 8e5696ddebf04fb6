/** The wards that this person may see. */

import { get, Problem } from './api';

export interface Ward {
  site: string;
  ward: string;
  name: string;
  beds: string[];
}

class Wards {
  list = $state.raw<Ward[]>([]);

  async load(): Promise<void> {
    try {
      const answer = await get<{ wards: Ward[] }>('/wards');
      this.list = answer.wards;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }
}

export const wards = new Wards();
