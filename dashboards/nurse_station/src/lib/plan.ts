/** Floor plans: where rooms are drawn on the screen and where in a room there is space for what stands in it. Pure. */

/** As /api/v1/rooms tells it, in metres. */
export interface Room {
  id: string;
  name: string;
  /** Where beacons in it are said to be. */
  zone: string | null;
  /** Whether a patient's beacon there is an alarm. */
  forbidden: boolean;
  beds: string[];
  x: number;
  y: number;
  width: number;
  height: number;
  outline: [number, number][];
}

export interface Plan {
  site: string;
  /** null for the zones that belong to no ward. */
  ward: string | null;
  name: string;
  width: number;
  height: number;
  rooms: Room[];
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Returns the largest pixels a metre at which all plans, in rows from the left, fit; `least` where none does. */
export function scaleOf(
  plans: Pick<Plan, 'width' | 'height'>[],
  space: { width: number; height: number; gap: number; title: number },
  least: number,
  most: number,
): number {
  let fits = least;
  let tooLarge = most;
  if (rowsHigh(plans, space, most) <= space.height) return most;
  for (let step = 0; step < 12; step++) {
    const tried = (fits + tooLarge) / 2;
    if (rowsHigh(plans, space, tried) <= space.height) fits = tried;
    else tooLarge = tried;
  }
  return fits;
}

function rowsHigh(
  plans: Pick<Plan, 'width' | 'height'>[],
  space: { width: number; gap: number; title: number },
  scale: number,
): number {
  let used = 0;
  let row = 0;
  let x = 0;
  for (const plan of plans) {
    const wide = plan.width * scale;
    if (wide > space.width) return Infinity;
    if (x > 0 && x + wide > space.width) {
      used += row + space.gap;
      row = x = 0;
    }
    x += wide + space.gap;
    row = Math.max(row, plan.height * scale + space.title);
  }
  return used + row;
}

/** Returns the largest upright rectangle inside a room: an L-shaped room has no space at its missing corner. */
export function spaceIn(outline: Room['outline']): Box {
  const xs = [...new Set(outline.map(([x]) => x))].sort((a, b) => a - b);
  const ys = [...new Set(outline.map(([, y]) => y))].sort((a, b) => a - b);
  const free = ys.slice(1).map((low, row) =>
    xs.slice(1).map((right, column) => within(outline, ((xs[column] ?? 0) + right) / 2, ((ys[row] ?? 0) + low) / 2)),
  );
  let best: Box = { x: xs[0] ?? 0, y: ys[0] ?? 0, width: 0, height: 0 };
  for (let top = 0; top < free.length; top++) {
    for (let left = 0; left + 1 < xs.length; left++) {
      let end = xs.length - 1;
      for (let row = top; row < free.length; row++) {
        let column = left;
        while (column < end && free[row]?.[column]) column++;
        end = column;
        const [x = 0, y = 0] = [xs[left], ys[top]];
        const found = { x, y, width: (xs[end] ?? 0) - x, height: (ys[row + 1] ?? 0) - y };
        if (found.width * found.height > best.width * best.height) best = found;
      }
    }
  }
  return best;
}

function within(outline: Room['outline'], x: number, y: number): boolean {
  let inside = false;
  outline.forEach(([x1, y1], number) => {
    const [x2, y2] = outline[(number + 1) % outline.length] ?? [x1, y1];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  });
  return inside;
}
