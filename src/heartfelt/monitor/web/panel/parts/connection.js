// SPDX-License-Identifier: MIT
/** Whether the page is live; when it is not: since when, and a way to try at once. */
import { html } from "../lib/html.js";
import { connect, useStatus } from "../lib/live.js";
import { t } from "../lib/i18n.js";
import { duration } from "../lib/format.js";
import { useNow } from "../lib/clock.js";

/** For the header. */
export function Connection() {
  const { state } = useStatus();
  return html`<span class="connection" data-connection=${state} role="status">
    <i aria-hidden="true"></i>${t(`shell.${state}`)}
  </span>`;
}

/** Over the view, while the connection is lost: what is shown below is old. */
export function LostBanner() {
  const { state, sinceMs, detail } = useStatus();
  return state === "lost" ? html`<${Lost} sinceMs=${sinceMs} detail=${detail} />` : null;
}

function Lost({ sinceMs, detail }) {
  useNow(1000);
  return html`<div class="banner warning">
    <p role="alert"><b>${t("shell.lost_title")}</b> ${detail || t("shell.lost_detail")}</p>
    <p class="muted">${t("shell.lost_since", { time: duration(Date.now() - sinceMs) })}</p>
    <button onClick=${connect}>${t("shell.retry")}</button>
  </div>`;
}
