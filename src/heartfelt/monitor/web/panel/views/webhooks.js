// SPDX-License-Identifier: MIT
/** Webhooks: targets with a switch and a test, and their deliveries. */
import { html, useState } from "../lib/html.js";
import { get, send } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { usePolled } from "../lib/poll.js";
import { Deliveries } from "../parts/webhook-deliveries.js";
import { Editor } from "../parts/webhook-editor.js";
import { Hook } from "../parts/webhook-row.js";
import { Confirm } from "../parts/dialog.js";
import { Empty, Failure, Loading } from "../parts/notes.js";

const EVERY_MS = 5000;
const path = (id) => `/api/v1/webhooks/${encodeURIComponent(id)}`;

export default function View() {
  const { data, error, reload } = usePolled((signal) => get("/api/v1/webhooks", {}, { signal }), EVERY_MS);
  const [edited, setEdited] = useState(null); // a webhook, or {} for a new one
  const [doomed, setDoomed] = useState(null);
  const [results, setResults] = useState({}); // by id: the result of a test or a switch
  const [told, setTold] = useState("");
  const hooks = data?.webhooks ?? null;
  const result = (id, value) => setResults((old) => ({ ...old, [id]: value }));

  const test = async (hook) => {
    result(hook.id, { running: true });
    try {
      result(hook.id, { answer: await send("POST", `${path(hook.id)}/test`) });
    } catch (problem) {
      result(hook.id, { problem });
    }
    reload();
  };
  const turn = async (hook) => {
    try {
      await send("PUT", path(hook.id), { enabled: !hook.enabled });
      result(hook.id, null);
    } catch (problem) {
      result(hook.id, { problem });
    }
    reload();
  };
  const remove = async (hook) => {
    try {
      await send("DELETE", path(hook.id));
      setTold(t("webhooks.deleted", { name: hook.name }));
    } catch (problem) {
      result(hook.id, { problem });
    }
    reload();
  };
  const saved = (hook) => {
    setEdited(null);
    setTold(t("webhooks.saved", { name: hook.name }));
    reload();
  };

  return html`<div class="admin">
    <div class="row spread">
      <div><h1>${t("webhooks.title")}</h1><p class="muted">${t("webhooks.lead")}</p></div>
      <button class="primary" disabled=${!data} onClick=${() => setEdited({})}>${t("webhooks.add")}</button>
    </div>
    <p class="told" role="status">${told}</p>
    ${error && html`<${Failure} error=${error} retry=${reload} />`}
    ${!data && !error && html`<${Loading} />`}
    ${hooks?.length === 0 && html`<${Empty} title=${t("webhooks.none")} hint=${t("webhooks.none_hint")} />`}
    ${hooks?.length > 0 && html`<ul class="hooks">
      ${hooks.map((hook) => html`<${Hook} key=${hook.id} hook=${hook} result=${results[hook.id]} onTest=${test}
        onTurn=${turn} onEdit=${setEdited} onDelete=${setDoomed} onDismiss=${() => result(hook.id, null)} />`)}
    </ul>`}
    ${hooks && html`<${Deliveries} hooks=${hooks} />`}
    ${edited && data && html`<${Editor} hook=${edited} defaults=${data.defaults} onSaved=${saved} onClose=${() => setEdited(null)} />`}
    ${doomed && html`<${Confirm} title=${t("webhooks.delete")} words=${t("webhooks.delete_sure", { name: doomed.name })}
      action=${t("webhooks.delete")} act=${() => remove(doomed)} close=${() => setDoomed(null)} />`}
  </div>`;
}
