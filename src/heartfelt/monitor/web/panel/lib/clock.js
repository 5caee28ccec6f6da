// SPDX-License-Identifier: MIT
/** The monitor's clock as far as the browser can know it. Timeouts and ages are computed by it, not by the browser's clock. */
import { useEffect, useReducer } from "./html.js";

let offsetMs = 0;
let bestMs = Infinity;

/** Learns from a response with the monitor's time. The fastest response is the most exact. */
export function learn(monitorMs, askedMs, answeredMs) {
  const tookMs = answeredMs - askedMs;
  bestMs += 5; // older measurements count less, since clocks drift
  if (tookMs > bestMs) return;
  bestMs = tookMs;
  offsetMs = monitorMs - (askedMs + answeredMs) / 2;
}

/** Now, ms since the epoch, by the monitor's clock. */
export const now = () => Date.now() + offsetMs;

const ticking = new Set();
let timer = 0;

/** Now. All components that use it are rendered together every `everyMs`, but not while the page is hidden. */
export function useNow(everyMs = 1000) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const one = { everyMs, redraw, dueMs: 0 };
    ticking.add(one);
    if (!timer) timer = setInterval(tick, 1000);
    return () => {
      ticking.delete(one);
      if (!ticking.size) timer = clearInterval(timer) ?? 0;
    };
  }, [everyMs]);
  return now();
}

function tick() {
  if (document.hidden) return;
  const nowMs = performance.now();
  for (const one of ticking) {
    if (nowMs < one.dueMs - 50) continue;
    one.dueMs = nowMs + one.everyMs;
    one.redraw();
  }
}
