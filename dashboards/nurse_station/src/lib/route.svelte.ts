/** Which view is shown, kept in the address so that back, reload and bookmarks work. */

export type Route =
  | { view: 'ward' }
  | { view: 'bed'; site: string; bed: string }
  | { view: 'map' }
  | { view: 'handover' };

function parse(hash: string): Route {
  const [view, site, bed] = hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  if (view === 'bed' && site && bed) return { view, site, bed };
  if (view === 'map' || view === 'handover') return { view };
  return { view: 'ward' };
}

class Router {
  route = $state<Route>(parse(location.hash));

  constructor() {
    addEventListener('hashchange', () => (this.route = parse(location.hash)));
  }
}

export const router = new Router();

export function bedAddress(site: string, bed: string): string {
  return `#/bed/${encodeURIComponent(site)}/${encodeURIComponent(bed)}`;
}
