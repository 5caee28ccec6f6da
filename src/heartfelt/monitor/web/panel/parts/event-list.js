// SPDX-License-Identifier: MIT
/** Events, newest first; each expands to all of its data, logs with their text. */
import { html } from "../lib/html.js";
import { age, dateTime, duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { reasonText } from "../lib/reasons.js";
import { STATES } from "../lib/state.js";
import { LevelMark } from "./level-mark.js";
import { StateMark } from "./state-mark.js";

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
const known = (state) => (typeof state === "string" && state in STATES ? state : null);

/** The text of an event: the monitor's reason in the reader's language, or an agent's own words. */
const description = ({ info }) => reasonText({ ...info, reason: asText(info.description ?? "") });

/** The summary line of an event: its name and its text. */
function headline(event) {
  const { type, info } = event;
  if (type === "LOG") return [asText(info.logLevel ?? "LOG"), asText(info.logMessage ?? "")];
  const text = asText(info.text ?? "");
  return [asText(info.name ?? type), [description(event), text].filter(Boolean).join(": ")];
}

function Line({ event, nowMs, ofOne }) {
  const { info } = event;
  const [name, words] = headline(event);
  const isState = event.type === "STATE" && known(info.new);
  return html`<summary>
    <span class="event-time" title=${dateTime(event.time_ms)}><time datetime=${new Date(event.time_ms).toISOString()}>${age(event.time_ms, nowMs)}</time></span>
    <${LevelMark} level=${event.level} />
    ${isState
      ? html`<span class="event-name">${known(info.old) && html`<${StateMark} state=${info.old} word=${false} /> <span aria-hidden="true">→</span> `}
        <${StateMark} state=${info.new} /></span>`
      : html`<span class="event-name mono cut">${name}</span>`}
    ${!ofOne && html`<span class="event-of cut">${event.service}</span>`}
    <span class="event-words">${words}</span>
  </summary>`;
}

const LOG = ["logLevel", "logClass", "logMethod", "logLineNumber", "logThreadId"];

function Pairs({ rows }) {
  return html`<dl class="facts">${rows
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function More({ event }) {
  const { info } = event;
  const isLog = event.type === "LOG";
  const shown = new Set(isLog ? [...LOG, "logMessage", "logThrowable"] : ["name", "description", "reason_code", "reason_args", "old", "new", "seq", "outageMs", "id"]);
  const rest = Object.entries(info).filter(([name]) => !shown.has(name));
  const id = event.instance_id;
  const to = Number.isSafeInteger(info.id)
    ? `/instances/${info.id}`
    : `/instances?service=${encodeURIComponent(event.service)}&instance=${encodeURIComponent(id)}`;
  return html`<div class="event-more">
    <${Pairs} rows=${[
      [t("events.time"), dateTime(event.time_ms)],
      [t("events.received"), Math.abs(event.received_ms - event.time_ms) >= 1000 && dateTime(event.received_ms)],
      [t("events.service"), event.service],
      [t("events.instance"), id && html`<a class="mono" href=${to}>${id}</a>`],
      [t("events.ip"), event.ip],
      [t("events.type"), event.type],
      [t("events.scope"), event.scope],
      [t("events.name"), !isLog && info.name !== undefined && asText(info.name)],
      [t("events.outage"), Number.isFinite(info.outageMs) && duration(info.outageMs)],
      ...(isLog ? LOG.map((name) => [t(`events.${name}`), info[name] === undefined ? null : asText(info[name])]) : []),
      ...rest.map(([name, value]) => [name, value === null ? null : asText(value)]),
    ].map(([name, value]) => [name, value === false ? null : value])} />
    ${!isLog && info.description && html`<pre>${description(event)}</pre>`}
    ${isLog && html`<pre>${asText(info.logMessage ?? "")}</pre>`}
    ${isLog && info.logThrowable && html`<pre class="throwable">${asText(info.logThrowable)}</pre>`}
  </div>`;
}

/** @param {{events: any[], nowMs: number, ofOne?: boolean, unfold?: boolean}} props `ofOne`: all events are of one instance */
export function EventList({ events, nowMs, ofOne = false }) {
  return html`<ul class=${ofOne ? "events of-one" : "events"}>
    ${events.map((event) => html`<li key=${event.number} data-level=${event.level}>
      <details class="event"><${Line} event=${event} nowMs=${nowMs} ofOne=${ofOne} /><${More} event=${event} /></details>
    </li>`)}
  </ul>`;
}
