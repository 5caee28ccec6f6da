// SPDX-License-Identifier: MIT
/** Dialogs that ask for how long: to pause instances, and to acknowledge losses and failures. */
import { html, useRef, useState } from "../lib/html.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Dialog } from "./dialog.js";

const TIMES_S = [900, 3600, 8 * 3600, 24 * 3600, 7 * 24 * 3600];
/** Who acknowledged last on this page, so that it need not be typed again. */
let lastBy = "";

function Times({ name, legend, open, seconds, setSeconds }) {
  return html`<fieldset class="choices">
    <legend class="only-read">${legend}</legend>
    ${[...TIMES_S, null].map((one) => html`<label key=${one} class="choice">
      <input type="radio" name=${name} checked=${seconds === one} onChange=${() => setSeconds(one)} />
      ${one === null ? open : duration(one * 1000)}
    </label>`)}
  </fieldset>`;
}

/** @param {{title: string, words: string, pause: (seconds: number | null) => void, close: () => void}} props */
export function PauseDialog({ title, words, pause, close }) {
  const [seconds, setSeconds] = useState(3600);
  return html`<${Dialog} title=${title} close=${close}>
    <p>${words}</p>
    <${Times} name="pause" legend=${t("instance.pause_for")} open=${t("instance.pause_open")} seconds=${seconds} setSeconds=${setSeconds} />
    <div class="buttons">
      <button onClick=${close}>${t("shell.cancel")}</button>
      <button class="primary" onClick=${() => pause(seconds)} autofocus>${t("instance.pause")}</button>
    </div>
  <//>`;
}

/** @param {{title: string, words: string, ack: (ack: {by: string, why: string, for_s: number | null}) => void, close: () => void}} props */
export function AckDialog({ title, words, ack, close }) {
  const [seconds, setSeconds] = useState(null);
  const form = useRef(null);
  const give = (event) => {
    event.preventDefault();
    const given = new FormData(form.current);
    lastBy = given.get("by").trim();
    ack({ by: lastBy, why: given.get("why").trim(), for_s: seconds });
  };
  return html`<${Dialog} title=${title} close=${close}>
    <form ref=${form} onSubmit=${give} autocomplete="off">
      <p>${words}</p>
      <label>${t("instance.ack_by")} <input name="by" defaultValue=${lastBy} required maxlength="100" autofocus=${!lastBy} /></label>
      <label>${t("instance.ack_why")} <input name="why" maxlength="500" autofocus=${Boolean(lastBy)} /></label>
      <${Times} name="ack" legend=${t("instance.ack_for")} open=${t("instance.ack_open")} seconds=${seconds} setSeconds=${setSeconds} />
      <div class="buttons">
        <button type="button" onClick=${close}>${t("shell.cancel")}</button>
        <button class="primary">${t("instance.ack")}</button>
      </div>
    </form>
  <//>`;
}
