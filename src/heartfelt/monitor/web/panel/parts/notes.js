// SPDX-License-Identifier: MIT
/** Placeholders: no data yet, loading, or failed. Each says what to do. */
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";

/** `code`: a command to type. */
export function Empty({ title, hint, code, children }) {
  return html`<div class="note">
    <p class="note-title">${title}</p>
    ${hint && html`<p>${hint}</p>`}
    ${code && html`<p><code>${code}</code></p>`}
    ${children}
  </div>`;
}

export const Loading = () => html`<div class="note" aria-busy="true"><p class="muted">${t("shell.loading")}</p></div>`;

/** @param {{error: import("../lib/api.js").ApiError, retry?: () => void}} props */
export function Failure({ error, retry }) {
  return html`<div class="note failure" role="alert">
    <p class="note-title">${error.title || t("shell.failed")}</p>
    <p>${error.detail || error.message}</p>
    ${retry && html`<p><button onClick=${retry}>${t("shell.retry")}</button></p>`}
  </div>`;
}
