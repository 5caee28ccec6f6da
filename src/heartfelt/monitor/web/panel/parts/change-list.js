// SPDX-License-Identifier: MIT
/** An instance's state changes, newest first, with reasons; older ones are loaded on request. */
import { html, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { dateTime, duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { reasonText } from "../lib/reasons.js";
import { Failure } from "./notes.js";
import { StateMark } from "./state-mark.js";

const PAGE = 50;

/** @param {{id: number, newest: any[]}} props `newest`: at most PAGE, live; older ones are kept here */
export function ChangeList({ id, newest }) {
  const [older, setOlder] = useState([]);
  const [isEnd, setEnd] = useState(false);
  const [error, setError] = useState(null);
  const known = new Set(newest.map((one) => one.seq));
  const all = [...newest, ...older.filter((one) => !known.has(one.seq))];
  const more = async () => {
    try {
      const { changes, before } = await get(`/api/v1/instances/${id}/changes`, { before: all.at(-1).seq, limit: PAGE });
      setOlder([...all, ...changes]);
      setEnd(before === null);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<section class="panel" aria-labelledby="changes">
    <h2 id="changes">${t("instance.changes")}</h2>
    ${all.length
      ? html`<ol class="changes">${all.map((one) => html`<li key=${one.seq}>
        <time class="muted nowrap" datetime=${new Date(one.time_ms).toISOString()}>${dateTime(one.time_ms)}</time>
        <span class="change-states">
          ${one.old && html`<${StateMark} state=${one.old} word=${false} /><span aria-hidden="true">→</span>`}
          <${StateMark} state=${one.new} />
        </span>
        <span class="change-reason">${reasonText(one)}${one.outage_ms !== null && html` <span class="muted">
          ${t("instance.outage", { time: duration(one.outage_ms) })}</span>`}</span>
      </li>`)}</ol>`
      : html`<p class="panel-body muted">${t("instance.no_changes")}</p>`}
    ${error && html`<${Failure} error=${error} retry=${more} />`}
    ${all.length >= PAGE && !isEnd && html`<p class="panel-body"><button onClick=${more}>${t("parts.older")}</button></p>`}
  </section>`;
}
