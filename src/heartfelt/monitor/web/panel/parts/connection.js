// SPDX-License-Identifier: MIT
/** The state of the connection; when it is lost: since when, and a button to retry now. */
import { html } from "../lib/html.js";
import { connect, useStatus } from "../lib/live.js";
import { gone, stats } from "../lib/stats.js";
import { missing } from "../lib/missing.js";
import { useStore } from "../lib/store.js";
import { t } from "../lib/i18n.js";
import { duration, time } from "../lib/format.js";
import { useNow } from "../lib/clock.js";

/** The mark in the header. */
export function Connection() {
  const { state } = useStatus();
  return html`<span class="connection" data-connection=${state} role="status">
    <i aria-hidden="true"></i>${t(`shell.${state}`)}
  </span>`;
}

/** The banner above the view while the connection is lost and the data may be out of date. */
export function LostBanner() {
  const { state, sinceMs, detail } = useStatus();
  return state === "lost" ? html`<${Lost} sinceMs=${sinceMs} detail=${detail} />` : null;
}

/** The banners of a fleet: Redis is not usable, monitors do not answer, a monitor has left. */
export function FleetBanners() {
  const late = useStore(missing);
  const { redis, fleet } = useStore(stats)?.parts ?? {};
  const left = useStore(gone).map((one) => ({ ...one, name: `${one.host} (${one.address})` }));
  const silent = (late ? late.split(", ") : (fleet?.silent_names ?? [])).filter((name) => left.every((one) => one.name !== name));
  const trouble = redis?.trouble;
  return html`
    ${trouble && html`<div class="banner warning"><p role="status"><b>${t("shell.degraded")}</b> ${trouble}. ${t("shell.degraded_means")}</p></div>`}
    ${silent.length > 0 && html`<div class="banner warning"><p role="status">${
      t("shell.missing", { n: silent.length, names: silent.join(", ") })}</p></div>`}
    ${left.map((one) => html`<div class="banner" key=${one.id}>
      <p role="status">${t("shell.gone", { name: one.name, time: time(one.sinceMs) })}</p>
      <button class="quiet" onClick=${() => gone.set((old) => old.filter(({ id }) => id !== one.id))}>${t("shell.close")}</button>
    </div>`)}`;
}

function Lost({ sinceMs, detail }) {
  useNow(1000);
  return html`<div class="banner warning">
    <p role="alert"><b>${t("shell.lost_title")}</b> ${detail || t("shell.lost_detail")}</p>
    <p class="muted">${t("shell.lost_since", { time: duration(Date.now() - sinceMs) })}</p>
    <button onClick=${connect}>${t("shell.retry")}</button>
  </div>`;
}
