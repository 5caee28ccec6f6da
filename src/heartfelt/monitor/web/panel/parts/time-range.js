// SPDX-License-Identifier: MIT
/** A time range kept in the address: the last minutes, hours or days, or from one moment to another. */
import { html } from "../lib/html.js";
import { now } from "../lib/clock.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";

const RANGES = { "15m": 900_000, "1h": 3_600_000, "24h": 86_400_000, "7d": 7 * 86_400_000 };
const USUAL = "24h";

/** @returns {{start_ms: number | null, end_ms: number | null}} as of now */
export function timesOf(params) {
  const range = params.get("range") ?? USUAL;
  if (range === "all") return { start_ms: null, end_ms: null };
  if (range === "custom") return { start_ms: whole(params.get("start")), end_ms: whole(params.get("end")) };
  return { start_ms: Math.floor(now() - (RANGES[range] ?? RANGES[USUAL])), end_ms: null };
}

const whole = (text) => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : null);

/** Converts ms to the browser's date field, in the reader's time zone, and back. */
function toField(ms) {
  if (ms === null) return "";
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
const fromField = (text) => (text ? new Date(text).getTime() : null);

export function TimeRange({ params, setParams }) {
  const range = params.get("range") ?? USUAL;
  const { start_ms: start, end_ms: end } = timesOf(params);
  const choose = (next) => {
    if (next === "custom") setParams({ range: next, start: start ?? Math.floor(now() - RANGES[USUAL]), end });
    else setParams({ range: next === USUAL ? null : next, start: null, end: null });
  };
  const isWrong = range === "custom" && start !== null && end !== null && start > end;
  return html`<div class="time-range">
    <select aria-label=${t("events.range")} value=${range} onChange=${(event) => choose(event.target.value)}>
      ${Object.entries(RANGES).map(([name, ms]) => html`<option key=${name} value=${name}>${t("events.range_last", { time: duration(ms) })}</option>`)}
      <option value="all">${t("events.range_all")}</option>
      <option value="custom">${t("events.range_custom")}</option>
    </select>
    ${range === "custom" && html`
      <input type="datetime-local" aria-label=${t("events.range_start")} value=${toField(start)} aria-invalid=${isWrong}
        onChange=${(event) => setParams({ start: fromField(event.target.value) })} />
      <span class="muted">–</span>
      <input type="datetime-local" aria-label=${t("events.range_end")} value=${toField(end)} aria-invalid=${isWrong}
        onChange=${(event) => setParams({ end: fromField(event.target.value) })} />`}
  </div>`;
}
