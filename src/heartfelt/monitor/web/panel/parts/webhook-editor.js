// SPDX-License-Identifier: MIT
/** Creates or changes a webhook. An error of the monitor is shown beside the field that it names. */
import { html, useRef, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { STATE_NAMES, stateWord } from "../lib/state.js";
import { Dialog } from "./dialog.js";

const KINDS = ["generic", "dingtalk", "feishu", "slack"];
const LEVELS = ["EMERGENCY", "IMPORTANT", "NORMAL"];
const STATES = [...STATE_NAMES, "REMOVED"];
/** The fields that an error may name: the form's control and its label. */
const FIELDS = {
  name: ["name", "f_name"], kind: ["kind", "f_kind"], url: ["url", "f_url"], secret: ["secret", "f_secret"],
  language: ["language", "f_language"], template: ["template", "f_template"], enabled: ["enabled", "f_enabled"],
  allow_private: ["allow_private", "f_private"], "filter.states": ["state", "f_states"], "filter.levels": ["level", "f_levels"],
  "filter.services": ["services", "f_services"], "filter.event_types": ["types", "f_types"],
};
const FRESH = { name: "", kind: "generic", url: "" };

const split = (text, by) => text.split(by).map((one) => one.trim()).filter(Boolean);

/** Reads the form into the JSON that the API takes. */
function read(form) {
  const given = new FormData(form);
  const kind = given.get("kind");
  return {
    name: given.get("name").trim() || kind,
    kind,
    url: given.get("url").trim(),
    secret: (kind !== "slack" && given.get("secret")) || null,
    language: given.get("language"),
    enabled: given.has("enabled"),
    allow_private: given.has("allow_private"),
    template: (kind === "generic" && given.get("template").trim()) || null,
    filter: {
      states: given.getAll("state"),
      levels: given.getAll("level"),
      services: split(given.get("services"), "\n"),
      event_types: split(given.get("types").toUpperCase(), ","),
    },
  };
}

/** Returns the form's control that an error is about, and the text beside it; without one, the text goes to the top. */
function faultOf(error) {
  if (!Object.hasOwn(FIELDS, error.field)) return ["", error.message];
  const [control, label] = FIELDS[error.field];
  return [control, t("webhooks.f_wrong", { label: t(`webhooks.${label}`), detail: error.detail })];
}

/**
 * @param {{hook: any, defaults: any, onSaved: (hook: any) => void, onClose: () => void}} props `hook` {}: a new webhook;
 *   `defaults`: the monitor's, for its other fields
 */
export function Editor({ hook, defaults, onSaved, onClose }) {
  const old = { ...FRESH, ...defaults, ...hook };
  const isNew = !hook.id;
  const [kind, setKind] = useState(old.kind);
  const [wrong, setWrong] = useState(["", ""]);
  const [busy, setBusy] = useState(false);
  const form = useRef(null);

  const save = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const fields = read(form.current);
      const path = isNew ? "/api/v1/webhooks" : `/api/v1/webhooks/${encodeURIComponent(hook.id)}`;
      onSaved(await send(isNew ? "POST" : "PUT", path, fields));
    } catch (error) {
      setBusy(false);
      const fault = faultOf(error);
      setWrong(fault);
      const control = form.current.elements[fault[0]];
      (control instanceof RadioNodeList ? control[0] : control)?.focus?.();
    }
  };
  const field = (name, label, control, hint) =>
    html`<${Field} name=${name} label=${label} hint=${hint} wrong=${wrong[0] === name ? wrong[1] : ""}>${control}<//>`;
  const described = (name) => ({
    id: `hook-${name}`, name, "aria-describedby": `hook-${name}-hint hook-${name}-wrong`, "aria-invalid": wrong[0] === name,
  });
  const tick = (name, on, text, value = "on") =>
    html`<label class="tick"><input type="checkbox" name=${name} value=${value} defaultChecked=${on} aria-invalid=${wrong[0] === name} /> ${text}</label>`;
  const fault = (...names) => names.includes(wrong[0]) && html`<p class="wrong" role="alert">${wrong[1]}</p>`;

  return html`<${Dialog} wide title=${isNew ? t("webhooks.new_title") : t("webhooks.edit_title", { name: hook.name })} close=${onClose}>
    <form ref=${form} class="form" onSubmit=${save} autocomplete="off">
      ${wrong[1] && wrong[0] === "" && html`<p class="notice bad" role="alert">${wrong[1]}</p>`}
      <div class="form-columns">
        ${field("name", t("webhooks.f_name"), html`<input ...${described("name")} defaultValue=${old.name} maxlength="200" />`)}
        ${field("kind", t("webhooks.f_kind"), html`<select ...${described("kind")} value=${kind} onChange=${(event) => setKind(event.target.value)}>
          ${KINDS.map((one) => html`<option value=${one}>${t(`webhooks.kind_${one}`)}</option>`)}
        </select>`)}
      </div>
      ${field("url", t("webhooks.f_url"), html`<input ...${described("url")} defaultValue=${old.url} required inputmode="url" spellcheck=${false} />`,
        isNew ? t("webhooks.f_url_hint") : t("webhooks.f_url_kept"))}
      ${tick("allow_private", old.allow_private, t("webhooks.f_private"))}
      ${fault("allow_private")}
      <div class="form-columns">
        ${kind !== "slack" && field("secret", t("webhooks.f_secret"), html`<input ...${described("secret")} type="password" defaultValue=${old.secret ?? ""}
          autocomplete="new-password" />`, old.secret ? t("webhooks.f_secret_kept") : t("webhooks.f_secret_hint"))}
        ${field("language", t("webhooks.f_language"), html`<select ...${described("language")} defaultValue=${old.language}>
          <option value="en" selected=${old.language === "en"}>English</option><option value="zh" selected=${old.language === "zh"}>中文</option>
        </select>`)}
      </div>
      <fieldset><legend>${t("webhooks.f_filter")}</legend>
        ${fault("state", "level")}
        <div role="group" aria-label=${t("webhooks.f_states")}><p class="label">${t("webhooks.f_states")}</p>
          <div class="ticks">${STATES.map((one) => tick("state", old.filter.states.includes(one), stateWord(one), one))}</div></div>
        <div role="group" aria-label=${t("webhooks.f_levels")}><p class="label">${t("webhooks.f_levels")}</p>
          <div class="ticks">${LEVELS.map((one) => tick("level", old.filter.levels.includes(one), t(`webhooks.level_${one}`), one))}</div></div>
        <div class="form-columns">
          ${field("services", t("webhooks.f_services"), html`<textarea ...${described("services")} rows="2" spellcheck=${false}
            defaultValue=${old.filter.services.join("\n")}></textarea>`, t("webhooks.f_services_hint"))}
          ${field("types", t("webhooks.f_types"), html`<input ...${described("types")} spellcheck=${false} defaultValue=${old.filter.event_types.join(", ")} />`,
            t("webhooks.f_types_hint"))}
        </div>
      </fieldset>
      ${kind === "generic" && field("template", t("webhooks.f_template"), html`<textarea ...${described("template")} class="mono" rows="3" spellcheck=${false}
        defaultValue=${old.template ?? ""}></textarea>`, t("webhooks.f_template_hint"))}
      ${tick("enabled", old.enabled, t("webhooks.f_enabled"))}
      ${fault("enabled")}
      <div class="buttons">
        <button type="button" onClick=${onClose}>${t("webhooks.cancel")}</button>
        <button class="primary" disabled=${busy}>${t("webhooks.save")}</button>
      </div>
    </form>
  <//>`;
}

function Field({ name, label, hint, wrong, children }) {
  return html`<div class="field">
    <label for="hook-${name}">${label}</label>
    ${children}
    <p class="hint" id="hook-${name}-hint">${hint}</p>
    <p class="wrong" id="hook-${name}-wrong" role="alert">${wrong}</p>
  </div>`;
}
