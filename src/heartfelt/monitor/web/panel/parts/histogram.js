// SPDX-License-Identifier: MIT
/** The detection delay of losses: bars over buckets that grow by a quarter, so the axis is logarithmic. */
import { html } from "../lib/html.js";
import { duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";

const HEIGHT = 84;

/** @param {{lateness: {count: number, p50_ms: number, p99_ms: number, max_ms: number, buckets: [number, number][]}, none: string}} props */
export function Histogram({ lateness, none }) {
  const { count, buckets } = lateness;
  if (!count) return html`<p class="muted small">${none}</p>`;
  const most = Math.max(...buckets.map(([, one]) => one));
  const marks = [["p50", lateness.p50_ms], ["p99", lateness.p99_ms], ["max", lateness.max_ms]];
  const words = marks.map(([name, ms]) => `${name} ${duration(ms)}`).join(", ");
  return html`
    <dl class="figures">
      ${marks.map(([name, ms]) => html`<div key=${name}><dt>${name}</dt><dd>${duration(ms)}</dd></div>`)}
      <div><dt>${t("overview.losses")}</dt><dd>${number(count)}</dd></div>
    </dl>
    <div class="bars" role="img" aria-label=${words} style=${{ height: `${HEIGHT}px` }}>
      ${buckets.map(([bound, one]) => html`<i key=${bound} title=${t("overview.bucket", { bound: duration(bound), n: one })}
        style=${{ height: one ? `max(2px, ${(one / most) * 100}%)` : "0" }} />`)}
    </div>
    <div class="bars-axis small muted"><span>≤ ${duration(buckets[0][0])}</span><span>≤ ${duration(buckets.at(-1)[0])}</span></div>`;
}
