// SPDX-License-Identifier: MIT
/** The actions of an administrator on an instance: acknowledge, pause, resume, remove. */
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { useKeys } from "../lib/keys.js";
import { navigate } from "../lib/router.js";
import { Confirm } from "./dialog.js";
import { AckDialog, PauseDialog } from "./instance-dialogs.js";
import { Failure } from "./notes.js";

const ACKABLE = ["FAILED", "LOST"];

/** @param {{instance: any, changed: () => void}} props */
export function Actions({ instance, changed }) {
  const [asks, setAsks] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const path = `/api/v1/instances/${instance.id}`;
  const canAck = ACKABLE.includes(instance.state) && instance.ack === null;
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
  const ack = async (given) => {
    setAsks("");
    if (await act("POST", `${path}/ack`, given)) changed();
  };
  const endAck = async () => (await act("DELETE", `${path}/ack`)) && changed();
  const remove = async () => (await act("DELETE", path)) && navigate("/instances");
  useKeys({
    ...(canAck && { a: { run: () => setAsks("ack"), words: t("instance.ack") } }),
    p: { run: () => (isPaused ? resume() : setAsks("pause")), words: t(isPaused ? "instance.resume" : "instance.pause") },
  });
  return html`
    <div class="buttons">
      ${canAck && html`<button class="primary" onClick=${() => setAsks("ack")} disabled=${busy}>${t("instance.ack")}…</button>`}
      ${instance.ack && html`<button onClick=${endAck} disabled=${busy}>${t("instance.ack_end")}</button>`}
      ${isPaused
        ? html`<button onClick=${resume} disabled=${busy}>${t("instance.resume")}</button>`
        : html`<button onClick=${() => setAsks("pause")} disabled=${busy}>${t("instance.pause")}…</button>`}
      <button onClick=${() => setAsks("remove")} disabled=${busy}>${t("instance.remove")}…</button>
    </div>
    ${error && html`<${Failure} error=${error} />`}
    ${asks === "pause" && html`<${PauseDialog} title=${t("instance.pause_title")} words=${t("instance.pause_words")} pause=${pause} close=${() => setAsks("")} />`}
    ${asks === "ack" && html`<${AckDialog} title=${t("instance.ack_title")} words=${t("instance.ack_words")} ack=${ack} close=${() => setAsks("")} />`}
    ${asks === "remove" && html`<${Confirm} title=${t("instance.remove_title")} action=${t("instance.remove")} act=${remove}
      words=${t("instance.remove_words", { service: instance.service, id: instance.instance_id })} close=${() => setAsks("")} />`}`;
}
