// SPDX-License-Identifier: MIT
/** Actions of an administrator on all instances that match the filter of the table. */
import { html, useRef, useState } from "../lib/html.js";
import { queryText, send } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Confirm } from "./dialog.js";
import { AckDialog, PauseDialog } from "./instance-dialogs.js";
import { Failure } from "./notes.js";

const ACTIONS = ["pause", "resume", "ack", "remove"];

/** @param {{filter: Record<string, any>, isFiltered: boolean, n: number, changed: () => void}} props `n`: how many match */
export function BulkActions({ filter, isFiltered, n, changed }) {
  const [asks, setAsks] = useState("");
  const [told, setTold] = useState("");
  const [error, setError] = useState(null);
  const menu = useRef(null);
  const ask = (action) => {
    menu.current.open = false;
    setTold("");
    setError(null);
    setAsks(action);
  };
  const act = (action) => async (body = {}) => {
    setAsks("");
    try {
      const which = isFiltered ? filter : { all: "true" };
      const done = await send("POST", `/api/v1/instances/${action}${queryText(which)}`, body);
      setTold(t(`instances.${action}_done`, { n: done.changed }));
      changed();
    } catch (problem) {
      setError(problem);
    }
  };
  const how = (action) => ({
    title: t(`instances.${action}_title`, { n }), close: () => setAsks(""),
    words: `${t(isFiltered ? "instances.bulk_matching" : "instances.bulk_all", { n })} ${t(`instances.${action}_words`)}`,
  });
  return html`
    <details class="columns bulk" ref=${menu}>
      <summary>${t("instances.bulk", { n })}</summary>
      <div class="columns-list">
        ${ACTIONS.map((action) => html`<button key=${action} type="button" disabled=${!n} onClick=${() => ask(action)}>${t(`instance.${action}`)}…</button>`)}
      </div>
    </details>
    <p class="told small" role="status">${told}</p>
    ${error && html`<${Failure} error=${error} />`}
    ${asks === "pause" && html`<${PauseDialog} ...${how("pause")} pause=${(seconds) => act("pause")({ for_s: seconds })} />`}
    ${asks === "ack" && html`<${AckDialog} ...${how("ack")} ack=${act("ack")} />`}
    ${asks === "resume" && html`<${Confirm} ...${how("resume")} action=${t("instance.resume")} act=${act("resume")} danger=${false} />`}
    ${asks === "remove" && html`<${Confirm} ...${how("remove")} action=${t("instance.remove")} act=${act("remove")} />`}`;
}
