// SPDX-License-Identifier: MIT
/** One instance: its data, its beats, its history, and actions on it. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useNow } from "../lib/clock.js";
import { dateTime, duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useFresh, useLive } from "../lib/live.js";
import { reasonText } from "../lib/reasons.js";
import { BeatStrip, GapChart, gapsOf } from "../parts/beat-strip.js";
import { ChangeList } from "../parts/change-list.js";
import { EventList } from "../parts/event-list.js";
import { Actions } from "../parts/instance-actions.js";
import { Facts, Plugins } from "../parts/instance-facts.js";
import { Empty, Failure, Loading } from "../parts/notes.js";
import { RunList } from "../parts/run-list.js";
import { StateMark } from "../parts/state-mark.js";

const READ_MS = 1000; // at most this often, however fast it beats
const EVENTS = 20;
const RUNS = 100; // all that the monitor keeps

/** Loads it when something has changed; `read` loads it now. */
function useInstance(id) {
  const [found, setFound] = useState({ instance: null, changes: [], events: [], runs: [], error: null });
  const state = useRef({ readMs: 0, timer: 0, reading: false });
  const read = async () => {
    const mine = state.current;
    if (mine.reading) return;
    mine.reading = true;
    try {
      const { instance, changes } = await get(`/api/v1/instances/${id}`);
      const which = { service: instance.service, instance: instance.instance_id, limit: EVENTS };
      const [events, runs] = await Promise.allSettled([
        get("/api/v1/events", { ...which, type: ["OPERATION", "GOVERNANCE", "LOG", "PING", "ADDRESSES"] }),
        get(`/api/v1/instances/${id}/runs`, { limit: RUNS }),
      ]);
      const failed = [events, runs].find((one) => one.status === "rejected"); // the rest is shown nevertheless
      setFound((old) => {
        const before = old.instance?.id === instance.id ? old : { changes: [], events: [], runs: [] };
        return {
          instance,
          changes: changes ?? before.changes,
          events: events.value?.events ?? before.events,
          runs: runs.value?.runs ?? before.runs,
          error: failed?.reason ?? null,
        };
      });
    } catch (error) {
      const gone = error.status === 404 ? await get(`/api/v1/instances/${id}/changes`, { limit: 50 }).catch(() => null) : null;
      setFound((old) => ({ ...old, error, changes: gone?.changes ?? old.changes }));
    } finally {
      mine.reading = false;
      mine.readMs = performance.now();
    }
  };
  const soon = () => {
    const mine = state.current;
    if (mine.timer) return;
    const wait = () => {
      if (document.hidden) return;
      mine.timer = 0;
      read();
    };
    mine.timer = setTimeout(wait, Math.max(50, mine.readMs + READ_MS - performance.now()));
  };
  useFresh(read, [id]);
  useLive("change", (change) => change.id === id && soon(), [id]);
  const { service, instance_id: name } = found.instance ?? {};
  useLive("event", (event) => event.service === service && event.instance_id === name && soon(), [service, name]);
  useLive("acks", (acks) => acks.some((one) => one.id === id) && soon(), [id]);
  useLive("beats", (beats) => beats.some((one) => one[0] === id) && soon(), [id]);
  useEffect(() => {
    const seen = () => {
      if (!document.hidden && state.current.timer) {
        state.current.timer = 0;
        read();
      }
    };
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      clearTimeout(state.current.timer);
    };
  }, []);
  return { ...found, read };
}

/** Shows how much of the timeout is left, as a bar and as text. */
function Lease({ instance, nowMs }) {
  const leftMs = Math.max(0, instance.last_beat_ms + instance.lease_ms - nowMs);
  const share = leftMs / instance.lease_ms;
  const counts = ["UP", "NEW", "LATE", "STUCK", "FAILED"].includes(instance.state);
  if (!counts) return null;
  return html`<div class="lease">
    <div class="lease-bar" aria-hidden="true"><i data-state=${share > 0 ? instance.state : "LOST"} style=${{ width: `${share * 100}%` }}></i></div>
    <span class="small muted">${leftMs
      ? t("instance.lease_left", { left: duration(Math.ceil(leftMs / 1000) * 1000), lease: duration(instance.lease_ms) })
      : t("instance.lease_over", { lease: duration(instance.lease_ms) })}</span>
  </div>`;
}

function Acknowledged({ ack }) {
  const { by, why, at_ms: atMs, until_ms: untilMs } = ack;
  const until = untilMs === null ? t("instance.acked_open") : t("instance.acked_until", { time: dateTime(untilMs) });
  return html`<p class="acked"><b>${t("instance.acked", { by: by || "–", time: dateTime(atMs) })}</b>${why && `: ${why}`}
    <span class="muted"> (${until})</span></p>`;
}

function Addresses({ addresses }) {
  if (addresses.length < 2) return null;
  return html`<div class="banner warning" role="status">
    <p>${t("instance.addresses", { n: addresses.length, addresses: addresses.join(", ") })}</p>
  </div>`;
}

function Head({ instance, nowMs, read }) {
  const until = instance.paused_until_ms;
  return html`
    <p class="small"><a href="/instances">${t("instances.title")}</a> / <a
      href=${`/instances?service=${encodeURIComponent(instance.service)}`}>${instance.service}</a></p>
    <div class="row spread instance-head">
      <div class="instance-name">
        <h1 class="mono">${instance.instance_id}</h1>
        <p class="row">
          <b><${StateMark} state=${instance.state} held=${instance.held} /></b>
          <span class="muted" title=${dateTime(instance.since_ms)}>${t("instance.since", { time: duration(Math.max(0, Math.floor((nowMs - instance.since_ms) / 1000) * 1000)) })}</span>
          ${instance.state === "PAUSED" && html`<span>${until === null ? t("instance.paused_open") : t("instance.paused_until", { time: dateTime(until) })}</span>`}
        </p>
        <p>${reasonText(instance)}</p>
        ${instance.ack && html`<${Acknowledged} ack=${instance.ack} />`}
        <${Lease} instance=${instance} nowMs=${nowMs} />
      </div>
      <div><${Actions} instance=${instance} changed=${read} /></div>
    </div>`;
}

function Beats({ instance }) {
  const gaps = gapsOf(instance);
  return html`<section class="panel" aria-labelledby="beats">
    <h2 id="beats">${t("instance.strip")}</h2>
    ${gaps.length
      ? html`<div class="panel-body stack">
        <${BeatStrip} gaps=${gaps} interval=${instance.interval_ms} lease=${instance.lease_ms} />
        <h3>${t("instance.gaps")}</h3>
        <${GapChart} gaps=${gaps} interval=${instance.interval_ms} lease=${instance.lease_ms} />
      </div>`
      : html`<p class="panel-body muted">${t("instance.no_gaps")}</p>`}
  </section>`;
}

export default function Instance({ id: text }) {
  const id = Number(text);
  const { instance, changes, events, runs, error, read } = useInstance(id);
  const nowMs = useNow(1000);
  if (error?.status === 404) {
    return html`
      <${Empty} title=${t("instance.gone")} hint=${t("instance.gone_hint")}><p><a href="/instances">${t("instances.title")}</a></p><//>
      ${changes.length > 0 && html`<${ChangeList} id=${id} newest=${changes} />`}`;
  }
  if (!instance) return error ? html`<${Failure} error=${error} retry=${read} />` : html`<${Loading} />`;
  const all = `/events?service=${encodeURIComponent(instance.service)}&instance=${encodeURIComponent(instance.instance_id)}&range=all`;
  return html`
    ${error && html`<${Failure} error=${error} retry=${read} />`}
    <${Head} instance=${instance} nowMs=${nowMs} read=${read} />
    <${Addresses} addresses=${instance.addresses} />
    <div class="columns-2">
      <div class="stack">
        ${runs.length > 0 && html`<${RunList} runs=${runs} nowMs=${nowMs} />`}
        <${Beats} instance=${instance} />
        <${ChangeList} id=${id} newest=${changes} />
        <section class="panel" aria-labelledby="events">
          <div class="panel-head row spread"><h2 id="events">${t("instance.events")}</h2><a class="small" href=${all}>${t("instance.all_events")}</a></div>
          ${events.length
            ? html`<${EventList} events=${events} nowMs=${nowMs} ofOne=${true} />`
            : html`<p class="panel-body muted">${t("instance.no_events")}</p>`}
        </section>
      </div>
      <div class="stack"><${Facts} instance=${instance} nowMs=${nowMs} /><${Plugins} instance=${instance} /></div>
    </div>`;
}
