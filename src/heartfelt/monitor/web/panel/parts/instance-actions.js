// SPDX-License-Identifier: MIT
/** The actions of an administrator on an instance: pause, resume, remove. */
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useKeys } from "../lib/keys.js";
import { navigate } from "../lib/router.js";
import { Confirm, Dialog } from "./dialog.js";
import { Failure } from "./notes.js";

const PAUSES_S = [900, 3600, 8 * 3600, 24 * 3600, 7 * 24 * 3600];

/** @param {{instance: any, changed: () => void}} props */
export function Actions({ instance, changed }) {
  const [asks, setAsks] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const path = `/api/v1/instances/${instance.id}`;
  const isPaused = instance.state === "PAUSED";
  const act = async (method, to, body) => {
    setBusy(true);
    setError(null);
    try {
      await send(method, to, body);
      return true;
    } catch (problem) {
      setError(problem);
      return false;
    } finally {
      setBusy(false);
    }
  };
  const resume = async () => (await act("POST", `${path}/resume`, {})) && changed();
  const pause = async (seconds) => {
    setAsks("");
    if (await act("POST", `${path}/pause`, { for_s: seconds })) changed();
  };
  const remove = async () => (await act("DELETE", path)) && navigate("/instances");
  useKeys({
    p: { run: () => (isPaused ? resume() : setAsks("pause")), words: t(isPaused ? "instance.resume" : "instance.pause") },
  });
  return html`
    <div class="buttons">
      ${isPaused
        ? html`<button onClick=${resume} disabled=${busy}>${t("instance.resume")}</button>`
        : html`<button onClick=${() => setAsks("pause")} disabled=${busy}>${t("instance.pause")}…</button>`}
      <button onClick=${() => setAsks("remove")} disabled=${busy}>${t("instance.remove")}…</button>
    </div>
    ${error && html`<${Failure} error=${error} />`}
    ${asks === "pause" && html`<${PauseDialog} pause=${pause} close=${() => setAsks("")} />`}
    ${asks === "remove" && html`<${Confirm} title=${t("instance.remove_title")} action=${t("instance.remove")} act=${remove}
      words=${t("instance.remove_words", { service: instance.service, id: instance.instance_id })} close=${() => setAsks("")} />`}`;
}

function PauseDialog({ pause, close }) {
  const [seconds, setSeconds] = useState(3600);
  return html`<${Dialog} title=${t("instance.pause_title")} close=${close}>
    <p>${t("instance.pause_words")}</p>
    <fieldset class="choices">
      <legend class="only-read">${t("instance.pause_for")}</legend>
      ${[...PAUSES_S, null].map((one) => html`<label key=${one} class="choice">
        <input type="radio" name="pause" checked=${seconds === one} onChange=${() => setSeconds(one)} />
        ${one === null ? t("instance.pause_open") : duration(one * 1000)}
      </label>`)}
    </fieldset>
    <div class="buttons">
      <button onClick=${close}>${t("shell.cancel")}</button>
      <button class="primary" onClick=${() => pause(seconds)} autofocus>${t("instance.pause")}</button>
    </div>
  <//>`;
}
