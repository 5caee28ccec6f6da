// SPDX-License-Identifier: MIT
/** The keyboard shortcuts of this page and what they do. */
import { html } from "../lib/html.js";
import { help } from "../lib/keys.js";
import { t } from "../lib/i18n.js";
import { Dialog } from "./dialog.js";

export function KeyHelp({ close }) {
  return html`<${Dialog} title=${t("shell.keys")} close=${close}>
    <dl class="keys">
      ${help().map(([key, words]) => html`<div key=${key}>
        <dt>${key.split(" ").map((one) => html`<kbd>${one}</kbd>`)}</dt><dd>${words}</dd>
      </div>`)}
    </dl>
    <div class="buttons"><button onClick=${close} autofocus>${t("shell.close")}</button></div>
  <//>`;
}
