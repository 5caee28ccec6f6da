// SPDX-License-Identifier: MIT
/** All services, the worst first: instances up now, over the last hours, and over the last days. */
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { useFleet } from "../lib/fleet.js";
import { number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useKeys } from "../lib/keys.js";
import { useFresh } from "../lib/live.js";
import { useQuery } from "../lib/router.js";
import { DOWN, STATE_NAMES, stateWord } from "../lib/state.js";
import { Search } from "../parts/filters.js";
import { HeatMap, byService, columnsOver } from "../parts/heat-map.js";
import { Empty, Failure, Loading } from "../parts/notes.js";
import { StateShape } from "../parts/state-mark.js";
import { UptimeBars, uptimeByService, uptimeWords } from "../parts/uptime-bars.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const HOURS = [1, 6, 24, 48];
const DAYS = 90;
const READ_MS = 30_000;
const MOST = 60; // rows at first

/** Heat map and uptime, loaded again every half minute. */
function useHistory(hours) {
  const [history, setHistory] = useState({ heat: new Map(), uptime: new Map(), span: null, today: 0, loaded: false, error: null });
  const turn = useRef(0);
  const read = async () => {
    const mine = ++turn.current;
    const endMs = Math.floor(now());
    const span = columnsOver(hours * HOUR_MS, endMs);
    try {
      const [{ cells }, { days }] = await Promise.all([
        get("/api/v1/heat", { start_ms: span.startMs, end_ms: endMs }),
        get("/api/v1/uptime", { days: DAYS }),
      ]);
      if (mine !== turn.current) return;
      const today = Math.floor(endMs / DAY_MS) * DAY_MS;
      setHistory({ heat: byService(cells, span), uptime: uptimeByService(days), span, today, loaded: true, error: null });
    } catch (error) {
      if (mine === turn.current) setHistory((old) => ({ ...old, error }));
    }
  };
  useFresh(read, [hours]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || read(), READ_MS);
    return () => clearInterval(timer);
  }, [hours]);
  return { ...history, read };
}

const share = (part, all) => (all ? part / all : 0);

/** Worst first: the worst state of an instance, the share of those that are down, then the lowest uptime. */
const ORDERS = {
  worst: (a, b) => a.worst - b.worst || b.down - a.down || (a.uptime ?? 2) - (b.uptime ?? 2) || a.name.localeCompare(b.name),
  losses: (a, b) => b.losses - a.losses || a.name.localeCompare(b.name),
  size: (a, b) => b.total - a.total || a.name.localeCompare(b.name),
  name: (a, b) => a.name.localeCompare(b.name),
};

function rowsOf(services, uptime, text, order) {
  const names = new Set([...Object.keys(services), ...uptime.keys()]);
  const wanted = text.toLowerCase();
  return [...names]
    .filter((name) => name.toLowerCase().includes(wanted))
    .map((name) => {
      const counts = services[name];
      const past = uptime.get(name);
      const states = counts?.states ?? {};
      const down = DOWN.filter((state) => states[state]);
      return {
        name, states, total: counts?.total ?? 0, uptime: past?.share ?? null, losses: past?.losses ?? 0,
        worst: down.length ? DOWN.indexOf(down[0]) : DOWN.length,
        down: share(down.reduce((sum, state) => sum + states[state], 0), counts?.total),
      };
    })
    .sort(ORDERS[order]);
}

function Counts({ states, total }) {
  if (!total) return html`<span class="muted small">${t("services.none_now")}</span>`;
  return html`<span class="service-counts">
    ${STATE_NAMES.filter((state) => states[state]).map((state) => html`<span key=${state} class="nowrap" title=${stateWord(state)}>
      <${StateShape} state=${state} /> ${number(states[state])}<span class="only-read"> ${stateWord(state)}</span>
    </span>`)}
  </span>`;
}

function Service({ row, history }) {
  const { name, states, total, worst } = row;
  return html`<li class="service" data-state=${DOWN[worst] ?? null}>
    <div class="service-name">
      <a class="cut" href=${`/instances?service=${encodeURIComponent(name)}`} title=${name}>${name}</a>
      <${Counts} states=${states} total=${total} />
    </div>
    <div class="service-heat"><${HeatMap} service=${name} cells=${history.heat.get(name)} span=${history.span} /></div>
    <div class="service-days"><${UptimeBars} service=${name} uptime=${history.uptime.get(name)} days=${DAYS} today=${history.today} /></div>
    <div class="service-share"><b>${uptimeWords(row.uptime)}</b>
      <span class="muted small">${t("services.losses", { n: row.losses })}</span></div>
  </li>`;
}

function Choice({ name, value, values, usual, setParams }) {
  return html`<label class="choice">${t(`services.${name}`)}
    <select value=${value} onChange=${(event) => setParams({ [name]: event.target.value === usual ? null : event.target.value })}>
      ${values.map(([one, words]) => html`<option key=${one} value=${one}>${words}</option>`)}
    </select>
  </label>`;
}

export default function Services() {
  const [params, setParams] = useQuery();
  const hours = HOURS.find((one) => String(one) === params.get("hours")) ?? 1;
  const order = params.get("order") in ORDERS ? params.get("order") : "worst";
  const history = useHistory(hours);
  const { services, loaded, error } = useFleet((fleet) => fleet);
  const text = params.get("text") ?? "";
  const rows = useMemo(() => rowsOf(services, history.uptime, text, order), [services, history.uptime, text, order]);
  const [most, setMost] = useState(MOST);
  const page = useRef(null);
  useKeys({ "/": { run: () => page.current.querySelector(".search").select(), words: t("services.search") } });
  const failure = history.error ?? error;
  return html`<div class="stack" ref=${page}>
    <div class="row spread">
      <h1>${t("services.title")}</h1>
      <p class="muted small">${loaded && t("services.shown", { n: rows.length })}</p>
    </div>
    <div class="toolbar">
      <${Search} value=${text} label=${t("services.search")} onChange=${(next) => setParams({ text: next })} />
      <${Choice} name="hours" value=${String(hours)} usual="1" setParams=${setParams}
        values=${HOURS.map((one) => [String(one), t("services.last_hours", { n: one })])} />
      <${Choice} name="order" value=${order} usual="worst" setParams=${setParams}
        values=${Object.keys(ORDERS).map((one) => [one, t(`services.order_${one}`)])} />
    </div>
    ${failure && html`<${Failure} error=${failure} retry=${history.read} />`}
    ${!failure && (!loaded || !history.loaded) && html`<${Loading} />`}
    ${loaded && history.loaded && !rows.length && (text
      ? html`<${Empty} title=${t("services.no_match")} hint=${t("services.no_match_hint")} />`
      : html`<${Empty} title=${t("services.none")} hint=${t("instances.none_hint")} code="heartfelt beat demo" />`)}
    ${history.loaded && rows.length > 0 && html`
      <div class="panel">
        <div class="service service-head" aria-hidden="true">
          <span>${t("services.now")}</span><span>${t("services.last_hours", { n: hours })}</span>
          <span>${t("services.days", { n: DAYS })}</span><span>${t("services.uptime")}</span>
        </div>
        <ul class="services">${rows.slice(0, most).map((row) => html`<${Service} key=${row.name} row=${row} history=${history} />`)}</ul>
      </div>
      ${rows.length > most && html`<p><button onClick=${() => setMost(most + 100)}>${t("services.more", { n: rows.length - most })}</button></p>`}
      <p class="muted small">${t("services.legend")}</p>`}
  </div>`;
}
