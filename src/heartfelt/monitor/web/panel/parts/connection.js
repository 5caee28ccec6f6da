// SPDX-License-Identifier: MIT
/** The state of the connection; when it is lost: since when, and a button to retry now. */
import { html } from "../lib/html.js";
import { missing } from "../lib/api.js";
import { connect, useStatus } from "../lib/live.js";
import { useStore } from "../lib/store.js";
import { t } from "../lib/i18n.js";
import { duration } from "../lib/format.js";
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

/** The banner while monitors of the fleet do not answer. */
export function MissingBanner() {
  const names = useStore(missing);
  return names && html`<div class="banner warning"><p role="status">${t("shell.missing", { names })}</p></div>`;
}

function Lost({ sinceMs, detail }) {
  useNow(1000);
  return html`<div class="banner warning">
    <p role="alert"><b>${t("shell.lost_title")}</b> ${detail || t("shell.lost_detail")}</p>
    <p class="muted">${t("shell.lost_since", { time: duration(Date.now() - sinceMs) })}</p>
    <button onClick=${connect}>${t("shell.retry")}</button>
  </div>`;
}
