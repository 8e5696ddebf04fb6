/** How much larger than at a desk everything is drawn: app.css sets the size of letters by the screen. */
export function screenScale(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;
}
