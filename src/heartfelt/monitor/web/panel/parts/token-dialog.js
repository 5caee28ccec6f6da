// SPDX-License-Identifier: MIT
/** Asks for a token when the monitor requires one. It is kept for this tab only. */
import { html, useRef } from "../lib/html.js";
import { giveToken, tokenAsked } from "../lib/api.js";
import { connect } from "../lib/live.js";
import { useStore } from "../lib/store.js";
import { t } from "../lib/i18n.js";
import { Dialog } from "./dialog.js";

export function TokenDialog() {
  const asked = useStore(tokenAsked);
  const field = useRef(null);
  if (!asked) return null;
  const give = (event) => {
    event.preventDefault();
    giveToken(field.current.value.trim());
    connect();
  };
  return html`<${Dialog} title=${t("shell.token_title")} close=${() => giveToken(null)}>
    <form onSubmit=${give}>
      <p>${asked.detail}</p>
      <label>${t("shell.token")}
        <input ref=${field} type="password" autocomplete="off" spellcheck="false" autofocus required />
      </label>
      <p class="muted">${t("shell.token_kept")}</p>
      <div class="buttons">
        <button type="button" onClick=${() => giveToken(null)}>${t("shell.cancel")}</button>
        <button class="primary">${t("shell.token_use")}</button>
      </div>
    </form>
  <//>`;
}
