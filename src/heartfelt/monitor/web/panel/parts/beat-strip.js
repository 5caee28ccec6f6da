// SPDX-License-Identifier: MIT
/**
 * The strip of an instance's last beats: one bar each, its height the time since the beat before, relative to the timeout; a
 * bar has a gap below it where beats were missed. Also shows the same times as a chart, with lines for interval and timeout.
 */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { duration, number, percent, time } from "../lib/format.js";
import { t } from "../lib/i18n.js";

const SLOTS = 119; // times between the 120 beats that the monitor keeps
const HIGH = 48;

/**
 * @typedef {{atMs: number, ms: number, missed: boolean}} Gap
 * @param {{last_beat_ms: number, gaps: [number, boolean][]}} instance
 * @returns {Gap[]} with the time each ended, computed back from the last beat
 */
export function gapsOf({ last_beat_ms: lastMs, gaps }) {
  let atMs = lastMs;
  const found = [];
  for (const [seconds, missed] of [...gaps].reverse()) {
    found.push({ atMs, ms: seconds * 1000, missed });
    atMs -= seconds * 1000;
  }
  return found.reverse();
}

export function summary(gaps) {
  const sorted = gaps.map((one) => one.ms).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { n: gaps.length + 1, missed: gaps.filter((one) => one.missed).length, p50: at(0.5), p99: at(0.99), most: sorted.at(-1) };
}

const words = (gap) => t(gap.missed ? "instance.gap_missed" : "instance.gap", { gap: duration(gap.ms), time: time(gap.atMs) });

/** @param {{gaps: Gap[], interval: number | null, lease: number}} props */
export function BeatStrip({ gaps, interval, lease }) {
  const shown = gaps.slice(-SLOTS);
  const { n, missed, p50, p99, most } = summary(shown);
  const usual = Math.max(1, interval ?? p50);
  // The height shows how much longer or shorter than usual: a third is just as usual, full height is the timeout.
  const height = (ms) => {
    const share = ms <= usual ? ms / usual / 3 : 1 / 3 + (2 / 3) * Math.min(1, (ms - usual) / Math.max(1, lease - usual));
    return Math.max(3, Math.round(share * HIGH));
  };
  const label = t("instance.strip_label", { n, missed, p50: duration(p50), p99: duration(p99), most: duration(most) });
  return html`
    <div class="strip" role="img" aria-label=${label}>
      <svg viewBox=${`0 0 ${SLOTS * 8} ${HIGH}`} preserveAspectRatio="none" aria-hidden="true">
        ${shown.map((gap, i) => {
          const high = height(gap.ms);
          const x = (SLOTS - shown.length + i) * 8 + 1;
          return html`<rect key=${Math.round(gap.atMs / 50)} x=${x} y=${HIGH - high} width="6"
            height=${gap.missed ? high * 0.55 : high} class=${gap.missed ? "strip-missed" : gap.ms > lease ? "strip-over" : "strip-beat"}>
            <title>${words(gap)}</title>
          </rect>`;
        })}
      </svg>
    </div>
    <dl class="figures">
      <${Figure} name="beats" value=${number(n)} />
      <${Figure} name="missed" value=${number(missed)} />
      <${Figure} name="p50" value=${duration(p50)} />
      <${Figure} name="p99" value=${duration(p99)} />
      <${Figure} name="most" value=${duration(most)} />
      <${Figure} name="of_lease" value=${percent(most / lease, 0)} />
    </dl>`;
}

const Figure = ({ name, value }) => html`<div><dt>${t(`instance.figure_${name}`)}</dt><dd>${value}</dd></div>`;

const TALL = 180;
const SPACE = { right: 8, top: 14, bottom: 20 };
const LETTER = 6.6; // about the width of a letter of the axis

/** The width of an element in pixels, so that texts drawn in it keep their size. */
function useWidth() {
  const box = useRef(null);
  const [wide, setWide] = useState(640);
  useEffect(() => {
    const watcher = new ResizeObserver(([{ contentRect }]) => setWide(Math.max(200, Math.round(contentRect.width))));
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  return [box, wide];
}

/** Round steps for an axis up to `most`. */
function steps(most) {
  const rough = most / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * size).find((one) => one >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

/** @param {{gaps: Gap[], interval: number | null, lease: number}} props */
export function GapChart({ gaps, interval, lease }) {
  const [box, wide] = useWidth();
  const first = gaps[0].atMs;
  const last = Math.max(gaps.at(-1).atMs, first + 1);
  const most = Math.max(lease, ...gaps.map((one) => one.ms)) * 1.08;
  const marks = steps(most).map((ms) => ({ ms, words: duration(ms) }));
  const left = 12 + LETTER * Math.max(...marks.map((one) => one.words.length));
  const x = (ms) => left + ((ms - first) / (last - first)) * (wide - left - SPACE.right);
  const y = (ms) => TALL - SPACE.bottom - (ms / most) * (TALL - SPACE.top - SPACE.bottom);
  const line = gaps.map((one, i) => `${i ? "L" : "M"}${x(one.atMs).toFixed(1)} ${y(one.ms).toFixed(1)}`).join("");
  const limit = (ms, name) => html`
    <path d=${`M${left} ${y(ms)}H${wide - SPACE.right}`} class=${`gap-${name}`} />
    <text x=${wide - SPACE.right} y=${y(ms) - 4} text-anchor="end" class=${`gap-words gap-${name}-words`}>
      ${t(`instance.line_${name}`, { time: duration(ms) })}
    </text>`;
  return html`<div ref=${box}><svg class="gap-chart" viewBox=${`0 0 ${wide} ${TALL}`} height=${TALL} role="img" aria-label=${t("instance.gaps_label")}>
    ${marks.map(({ ms, words: mark }) => html`<g key=${ms}>
      <path d=${`M${left} ${y(ms)}H${wide - SPACE.right}`} class="gap-grid" />
      <text x=${left - 6} y=${y(ms) + 4} text-anchor="end" class="gap-words">${mark}</text>
    </g>`)}
    <text x=${left} y=${TALL - 4} class="gap-words">${time(first)}</text>
    <text x=${wide - SPACE.right} y=${TALL - 4} text-anchor="end" class="gap-words">${time(last)}</text>
    ${interval !== null && limit(interval, "interval")}
    ${limit(lease, "lease")}
    <path d=${line} class="gap-line" />
    ${gaps.filter((one) => one.missed).map((one) => html`<path key=${one.atMs} class="gap-mark"
      d=${`M${x(one.atMs) - 4} ${y(one.ms) - 4}l8 8m0 -8l-8 8`}><title>${words(one)}</title></path>`)}
    ${gaps.length < 40 && gaps.filter((one) => !one.missed).map((one) => html`<circle key=${one.atMs} class="gap-dot"
      cx=${x(one.atMs)} cy=${y(one.ms)} r="2.5"><title>${words(one)}</title></circle>`)}
  </svg></div>`;
}
