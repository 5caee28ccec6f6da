// SPDX-License-Identifier: MIT
/** The runs of a job, newest first: when, for how long, and how they ended. */
import { html } from "../lib/html.js";
import { dateTime, duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";

/** The results of a run: a sign, and whether the run is well. */
const RESULTS = {
  RUNNING: ["…", "running"], OK: ["✓", "well"], FAILED: ["✗", "bad"], TOO_LONG: ["✗", "bad"], TOO_SHORT: ["✗", "bad"], OVERDUE: ["!", "bad"],
};
const COLUMNS = ["began", "took", "result", "status", "text", "deadline"];

function Result({ result }) {
  const [sign, how] = RESULTS[result] ?? ["?", "bad"];
  return html`<span class="run-result ${how}"><span class="mark" aria-hidden="true">${sign}</span> ${t(`instance.run_${result}`)}</span>`;
}

const moment = (ms) => ms !== null && html`<time datetime=${new Date(ms).toISOString()}>${dateTime(ms)}</time>`;

/** How long it took, or has taken so far, in whole seconds. */
function took({ begin_ms: beginMs, end_ms: endMs, duration_ms: tookMs }, nowMs) {
  if (tookMs !== null) return duration(tookMs);
  if (beginMs === null || endMs !== null) return null;
  return t("instance.run_so_far", { time: duration(Math.max(0, Math.floor((nowMs - beginMs) / 1000) * 1000)) });
}

/** @param {{runs: any[], nowMs: number}} props `runs`: newest first */
export function RunList({ runs, nowMs }) {
  const cells = (run) => ({
    began: moment(run.begin_ms ?? run.end_ms),
    took: took(run, nowMs),
    result: html`<${Result} result=${run.result} />`,
    status: run.status !== null && html`<span class="mono">${run.status}</span>`,
    text: (run.rid || run.text) && html`<span>${run.rid && html`<code>${run.rid}</code> `}${run.text}</span>`,
    deadline: moment(run.deadline_ms),
  });
  return html`<section class="panel" aria-labelledby="runs">
    <div class="panel-head row spread"><h2 id="runs">${t("instance.runs")}</h2>
      <span class="muted small">${t("instance.runs_shown", { n: runs.length })}</span></div>
    <div class="runs" tabindex="0" role="region" aria-labelledby="runs"><table class="stacked">
      <thead><tr>${COLUMNS.map((name) => html`<th scope="col">${t(`instance.run_${name}`)}</th>`)}</tr></thead>
      <tbody>${runs.map((run) => {
        const values = cells(run);
        return html`<tr key=${run.number} data-result=${run.result}>${COLUMNS.map((name) =>
          html`<td class="run-${name}" data-label=${t(`instance.run_${name}`)}>${values[name]}</td>`)}</tr>`;
      })}</tbody>
    </table></div>
  </section>`;
}
