// SPDX-License-Identifier: MIT
/** The banner of a hold: why, since when, how many losses, and a button to release it. */
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { useNow } from "../lib/clock.js";
import { fleet, useFleet } from "../lib/fleet.js";
import { duration, time } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { reasonText } from "../lib/reasons.js";
import { Confirm } from "./dialog.js";

export function HoldBanner() {
  const hold = useFleet((one) => one.hold);
  return hold && hold.state !== "NONE" ? html`<${Hold} hold=${hold} />` : null;
}

function Hold({ hold }) {
  const nowMs = useNow(1000);
  const held = useFleet((one) => one.all?.held) ?? hold.held;
  const [asks, setAsks] = useState(false);
  const [error, setError] = useState(null);
  const releasing = hold.state === "RELEASING";
  const release = async () => {
    try {
      const next = await send("POST", "/api/v1/hold/release", { by: "panel" });
      fleet.set((old) => ({ ...old, hold: next }));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  const scope = hold.scope ? t("overview.hold_of", { service: hold.scope }) : t("overview.hold_of_all");
  return html`<div class="banner alarm" role="alert">
    <p><b>${t(releasing ? "overview.releasing" : "overview.holding", { scope })}</b> ${reasonText(hold)}</p>
    <p class="small">${t("overview.hold_count", { n: Math.max(held, hold.held) })}${hold.since_ms !== null
      ? ` · ${t("overview.hold_since", { time: time(hold.since_ms), ago: duration(Math.max(0, nowMs - hold.since_ms)) })}` : ""}${hold.until_ms !== null && !releasing
      ? ` · ${t("overview.hold_until", { time: time(hold.until_ms) })}` : ""}</p>
    ${!releasing && html`<button onClick=${() => setAsks(true)}>${t("overview.release")}</button>`}
    ${error && html`<p class="small">${error.detail}</p>`}
    ${asks && html`<${Confirm} title=${t("overview.release_title")} words=${t("overview.release_words", { n: Math.max(held, hold.held) })}
      action=${t("overview.release")} act=${release} close=${() => setAsks(false)} />`}
  </div>`;
}
