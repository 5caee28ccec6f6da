// SPDX-License-Identifier: MIT
/** State changes and events of agents: filtered, counted by level, live. */
import { html, useRef } from "../lib/html.js";
import { useNow } from "../lib/clock.js";
import { useEvents } from "../lib/event-feed.js";
import { useFleet } from "../lib/fleet.js";
import { number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useKeys } from "../lib/keys.js";
import { useQuery } from "../lib/router.js";
import { EventList } from "../parts/event-list.js";
import { Filters, Search } from "../parts/filters.js";
import { LEVELS, LevelMark } from "../parts/level-mark.js";
import { Empty, Failure, Loading } from "../parts/notes.js";
import { TimeRange, timesOf } from "../parts/time-range.js";

const FILTERS = ["service", "instance", "ip", "name", "scope"];
const TYPES = ["STATE", "OPERATION", "GOVERNANCE", "LOG", "PING", "HOLD", "ADDRESSES"];

const toggled = (all, one) => (all.includes(one) ? all.filter((other) => other !== one) : [...all, one]);

function Levels({ params, setParams, counts }) {
  const chosen = params.getAll("level");
  return html`<div class="levels" role="group" aria-label=${t("events.level")}>
    ${LEVELS.map((level) => html`<button key=${level} type="button" class="level-card" data-level=${level}
        aria-pressed=${chosen.includes(level)} onClick=${() => setParams({ level: toggled(chosen, level) })}>
      <${LevelMark} level=${level} /><b>${counts ? number(counts[level]) : "–"}</b>
    </button>`)}
  </div>`;
}

function Types({ params, setParams }) {
  const chosen = params.getAll("type");
  return html`<div class="chips" role="group" aria-label=${t("events.type")}>
    ${TYPES.map((type) => html`<button key=${type} type="button" class="chip toggle" aria-pressed=${chosen.includes(type)}
        onClick=${() => setParams({ type: toggled(chosen, type) })}>${t(`events.type_${type}`)}</button>`)}
  </div>`;
}

export default function Events() {
  const [params, setParams] = useQuery();
  const isFollowing = params.get("follow") !== "false";
  const asked = () => {
    const found = { text: params.get("text"), ...timesOf(params) };
    for (const name of [...FILTERS, "level", "type"]) found[name] = params.getAll(name);
    return found;
  };
  const key = [...params].filter(([name]) => name !== "follow").map((pair) => pair.join("=")).join("&");
  const feed = useEvents(asked, key, isFollowing);
  const nowMs = useNow(1000);
  const services = useFleet((fleet) => fleet.services);
  const fields = FILTERS.map((name) => ({ name, words: t(`events.${name}`), known: name === "service" ? Object.keys(services) : [] }));
  const page = useRef(null);
  const step = (by) => {
    const all = [...page.current.querySelectorAll(".event > summary")];
    const at = all.indexOf(document.activeElement);
    all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))]?.focus();
  };
  useKeys({
    "/": { run: () => page.current.querySelector(".search").select(), words: t("events.search") },
    j: { run: () => step(1), words: t("parts.next_row") },
    k: { run: () => step(-1), words: t("parts.previous_row") },
  });
  const filtered = [...FILTERS, "level", "type", "text"].filter((name) => params.has(name));
  const clear = () => setParams(Object.fromEntries([...filtered, "range", "start", "end"].map((name) => [name, null])));
  const newer = () => {
    scrollTo(0, 0);
    feed.newer();
  };
  return html`<div class="stack" ref=${page}>
    <div class="row spread">
      <h1>${t("events.title")}</h1>
      <label class="choice"><input type="checkbox" checked=${isFollowing}
        onChange=${() => setParams({ follow: isFollowing ? "false" : null })} /> ${t("events.follow")}</label>
    </div>
    <${Levels} params=${params} setParams=${setParams} counts=${feed.counts} />
    <div class="toolbar">
      <${Search} value=${params.get("text") ?? ""} label=${t("events.search")} onChange=${(text) => setParams({ text })} />
      <${TimeRange} params=${params} setParams=${setParams} />
      <${Filters} fields=${fields} params=${params} setParams=${setParams} />
      <${Types} params=${params} setParams=${setParams} />
    </div>
    ${feed.error && html`<${Failure} error=${feed.error} retry=${feed.again} />`}
    ${feed.isStale && html`<div class="newer"><button class="primary" onClick=${newer}>${t("events.newer")}</button></div>`}
    <${Body} feed=${feed} nowMs=${nowMs} isFiltered=${filtered.length > 0} clear=${clear} />
  </div>`;
}

function Body({ feed, nowMs, isFiltered, clear }) {
  if (!feed.loaded) return html`<${Loading} />`;
  if (!feed.events.length) {
    if (feed.error) return null;
    const hint = t(isFiltered ? "events.no_match_hint" : "events.none_hint");
    return html`<${Empty} title=${t(isFiltered ? "events.no_match" : "events.none")} hint=${hint}>
      <p><button type="button" onClick=${clear}>${t("parts.filter_none")}</button></p>
    <//>`;
  }
  return html`
    <div class="panel"><${EventList} events=${feed.events} nowMs=${nowMs} /></div>
    <p class="muted small">
      ${feed.isFull ? t("events.full", { n: feed.events.length })
        : feed.isEnd ? t("parts.that_was_all") : html`<button onClick=${feed.older}>${t("parts.older")}</button>`}
    </p>`;
}
