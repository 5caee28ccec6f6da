// SPDX-License-Identifier: MIT
/**
 * A row of columns on a canvas, one per period: the share that was up from below, the share that was not from above.
 * The latter is drawn by the square root of its share, at least 3 pixels, so that one of a thousand is visible.
 * Arrow keys move between columns and announce each one's text; Enter opens it.
 */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { colours, useShownTheme } from "../lib/theme.js";

const LEAST_DOWN = 3;

/**
 * @typedef {{share: number | null, words: () => string}} Column `share` that was up; null: no data
 * @param {{columns: Column[], label: string, open?: (index: number) => void, height?: number}} props
 */
export function ColumnStrip({ columns, label, open, height = 28 }) {
  const canvas = useRef(null);
  const theme = useShownTheme();
  const [wide, setWide] = useState(0);
  const [at, setAt] = useState(null);
  const [isShown, setShown] = useState(false);

  useEffect(() => {
    const watcher = new ResizeObserver(([{ contentRect }]) => setWide(Math.floor(contentRect.width)));
    watcher.observe(canvas.current.parentElement);
    return () => watcher.disconnect();
  }, []);
  useLayoutEffect(() => draw(canvas.current, columns, wide, height), [columns, wide, height, theme]);

  const last = columns.length - 1;
  const here = Math.min(at ?? last, last);
  const point = (event) => {
    const box = canvas.current.getBoundingClientRect();
    setAt(Math.max(0, Math.min(last, Math.floor(((event.clientX - box.left) / box.width) * columns.length))));
    setShown(true);
  };
  const press = (event) => {
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (next !== undefined) setAt(Math.max(0, Math.min(last, next)));
    else if (event.key === "Enter" && open) open(here);
    else return;
    setShown(true);
    event.preventDefault();
  };
  const words = columns[here]?.words() ?? "";
  return html`<div class=${open ? "column-strip opens" : "column-strip"} role="slider" tabindex="0" aria-label=${label} aria-readonly="true"
      aria-valuemin="0" aria-valuemax=${Math.max(0, last)} aria-valuenow=${Math.max(0, here)} aria-valuetext=${words}
      onPointerMove=${point} onPointerLeave=${() => setShown(false)} onBlur=${() => setShown(false)} onFocus=${() => setShown(true)}
      onKeyDown=${press} onClick=${(event) => { point(event); open?.(here); }} style=${{ height: `${height}px` }}>
    <canvas ref=${canvas} aria-hidden="true"></canvas>
    ${isShown && last >= 0 && html`
      <i class="column-here" style=${{ left: `${((here + 0.5) / columns.length) * 100}%` }}></i>
      <span class=${here > last / 2 ? "column-words to-left" : "column-words"} aria-hidden="true"
        style=${{ left: `${((here + 0.5) / columns.length) * 100}%` }}>${words}</span>`}
  </div>`;
}

function draw(canvas, columns, wide, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, wide * scale);
  canvas.height = height * scale;
  if (!wide || !columns.length) return;
  const { "--up": up, "--lost": lost, "--line": line } = colours(["--up", "--lost", "--line"]);
  const pen = canvas.getContext("2d");
  const step = canvas.width / columns.length;
  const space = step >= 4 * scale ? scale : 0;
  columns.forEach(({ share }, i) => {
    const left = Math.round(i * step);
    const width = Math.max(1, Math.round((i + 1) * step) - left - space);
    if (share === null) {
      pen.fillStyle = line;
      pen.fillRect(left, canvas.height - scale, width, scale);
      return;
    }
    const down = share >= 1 ? 0 : Math.max(LEAST_DOWN * scale, Math.sqrt(1 - share) * canvas.height);
    pen.fillStyle = up;
    pen.globalAlpha = 0.6; // muted, so that the other part stands out
    pen.fillRect(left, down, width, canvas.height - down);
    pen.globalAlpha = 1;
    pen.fillStyle = lost;
    pen.fillRect(left, 0, width, down && Math.max(1, down - scale)); // a line of background between the two
    if (down) pen.clearRect(left, down - scale, width, scale);
  });
}
