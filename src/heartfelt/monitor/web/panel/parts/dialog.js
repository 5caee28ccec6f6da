// SPDX-License-Identifier: MIT
/** The browser's modal dialog: it keeps the focus inside, and Escape closes it. */
import { html, useEffect, useRef } from "../lib/html.js";
import { t } from "../lib/i18n.js";

/** Open while it is rendered. `close` is called by Escape, and by a click outside. */
export function Dialog({ title, close, children, wide = false }) {
  const element = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.focus?.();
  }, []);
  const outside = (event) => event.target === element.current && close();
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby="dialog-title"
      onClose=${close} onCancel=${close} onMouseDown=${outside}>
    <div class="dialog-body"><h2 id="dialog-title">${title}</h2>${children}</div>
  </dialog>`;
}

/** Asks for confirmation. `act` may return a promise. */
export function Confirm({ title, words, action, act, close, danger = true }) {
  const yes = async () => {
    await act();
    close();
  };
  return html`<${Dialog} title=${title} close=${close}>
    <p>${words}</p>
    <div class="buttons">
      <button onClick=${close} autofocus>${t("shell.cancel")}</button>
      <button class=${danger ? "danger" : "primary"} onClick=${yes}>${action}</button>
    </div>
  <//>`;
}
