// SPDX-License-Identifier: MIT
/** Deliveries to webhooks: each message with its attempts and the last response. */
import { html, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useNow } from "../lib/clock.js";
import { dateTime, duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { usePolled } from "../lib/poll.js";
import { useQuery } from "../lib/router.js";
import { stateWord } from "../lib/state.js";
import { Failure } from "./notes.js";

const EVERY_MS = 3000;
const PAGE = 50;
const MARKS = { waiting: "…", claimed: "→", done: "✓", failed: "✗" };

/** Sums up a message in one line. Parts of it are strangers' text. */
export function messageText(payload) {
  const { kind, service = "", entry, counts = {}, outage_ms: outageMs } = payload ?? {};
  if (kind === "test") return t("webhooks.m_test");
  if (!entry) {
    const parts = Object.entries(counts).map(([what, n]) =>
      what === "RECOVERED" ? t("webhooks.m_n_recovered", { n }) : t("webhooks.m_count", { n, what: word(what) }));
    return t("webhooks.m_mass", { service, counts: parts.join(", ") });
  }
  const values = { service, instance: entry.instance_id, state: word(entry.new), n: entry.count ?? 1 };
  if (kind === "event") return t("webhooks.m_event", { ...values, name: entry.event_name || entry.event_type });
  if (kind === "flapping") return t("webhooks.m_flapping", values);
  if (!entry.recovery) return t("webhooks.m_change", values);
  if (outageMs === undefined || outageMs === null) return t("webhooks.m_recovered", values);
  return t("webhooks.m_recovered_after", { ...values, span: duration(outageMs) });
}

const KNOWN = new Set(["NEW", "UP", "LATE", "LOST", "FAILED", "LEFT", "STUCK", "PAUSED", "REMOVED"]);
const word = (state) => (KNOWN.has(state) ? stateWord(state) : (state ?? ""));

function stateText({ state, attempts }) {
  if (state === "waiting") return t(attempts ? "webhooks.d_retrying" : "webhooks.d_waiting");
  return t(`webhooks.d_${state}`);
}

export function Deliveries({ hooks }) {
  const [query, setQuery] = useQuery();
  const [before, setBefore] = useState(null);
  const to = query.get("to") ?? "";
  const read = (signal) => get("/api/v1/deliveries", { webhook: to, before, limit: PAGE }, { signal });
  const { data, error, reload } = usePolled(read, before === null ? EVERY_MS : 0, [to, before]);
  const names = new Map(hooks.map((hook) => [hook.id, hook.name]));
  const choose = (event) => {
    setBefore(null);
    setQuery({ to: event.target.value });
  };
  return html`<section class="deliveries" aria-labelledby="deliveries">
    <div class="row spread">
      <h2 id="deliveries">${t("webhooks.deliveries")}</h2>
      <label>${t("webhooks.of_webhook")} <select value=${to} onChange=${choose}>
        <option value="">${t("webhooks.of_all")}</option>
        ${hooks.map((hook) => html`<option value=${hook.id}>${hook.name}</option>`)}
      </select></label>
    </div>
    ${error && html`<${Failure} error=${error} retry=${reload} />`}
    ${data?.deliveries.length === 0 && html`<p class="muted">${t("webhooks.deliveries_none")}</p>`}
    ${data?.deliveries.length > 0 && html`<${Table} rows=${data.deliveries} names=${names} />`}
    <div class="row">
      ${before !== null && html`<button onClick=${() => setBefore(null)}>${t("webhooks.newest")}</button>`}
      ${data?.before && html`<button onClick=${() => setBefore(data.before)}>${t("webhooks.older")}</button>`}
    </div>
  </section>`;
}

const COLUMNS = ["time", "webhook", "message", "state", "attempts", "next", "answer"];

function Table({ rows, names }) {
  const nowMs = useNow();
  const due = (row) => {
    if (row.state !== "waiting" || row.next_ms === null) return "";
    return row.next_ms <= nowMs ? t("webhooks.due_now") : t("webhooks.due_in", { span: duration(row.next_ms - nowMs) });
  };
  const cells = (row) => ({
    time: html`<time>${dateTime(row.created_ms)}</time>`,
    webhook: names.get(row.target) ?? t("webhooks.d_gone", { id: row.target }),
    message: messageText(row.payload),
    state: html`<span class="delivery ${row.state}"><span class="mark" aria-hidden="true">${MARKS[row.state]}</span> ${stateText(row)}</span>`,
    attempts: number(row.attempts),
    next: due(row),
    answer: row.answer,
  });
  return html`<table class="stacked">
    <thead><tr>${COLUMNS.map((name) => html`<th scope="col">${t(`webhooks.d_${name}`)}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => {
      const values = cells(row);
      return html`<tr key=${row.number}>${COLUMNS.map((name) =>
        html`<td class="d-${name}" data-label=${t(`webhooks.d_${name}`)}>${values[name]}</td>`)}</tr>`;
    })}</tbody>
  </table>`;
}
