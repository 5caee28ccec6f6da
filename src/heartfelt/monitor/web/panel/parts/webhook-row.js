// SPDX-License-Identifier: MIT
/** A webhook in the list: its switch, its filter, its status, its test. */
import { html } from "../lib/html.js";
import { age, duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { stateWord } from "../lib/state.js";

const LANGUAGES = { en: "English", zh: "中文" };

/** The status of its calls: a text, and a mark that is more than a colour. */
function health(hook) {
  if (!hook.enabled) return ["off", "–", t("webhooks.switched_off")];
  if (hook.breaker !== "closed") return ["bad", "!", t("webhooks.paused_calls", { n: hook.failures })];
  if (hook.refusing) return ["bad", "!", t("webhooks.refusing")];
  if (hook.failures) return ["poor", "!", t("webhooks.failing", { n: hook.failures })];
  return hook.last_success_ms ? ["good", "✓", t("webhooks.working")] : ["off", "·", t("webhooks.untried")];
}

/** Its filter in a few words. */
export function tells(filter) {
  const types = filter.event_types;
  const any = types.length === 0 || types.includes("*");
  const others = types.filter((type) => type !== "STATE" && type !== "*");
  const states = filter.states.length ? filter.states.map((state) => stateWord(state)).join(", ") : t("webhooks.all_states");
  return [
    any || types.includes("STATE") ? states : t("webhooks.no_states"),
    filter.levels.length ? filter.levels.map((level) => t(`webhooks.level_${level}`)).join(", ") : t("webhooks.all_levels"),
    filter.services.length ? filter.services.join(", ") : t("webhooks.all_services"),
    any ? t("webhooks.events_too", { types: t("webhooks.any_type") }) : "",
    !any && others.length ? t("webhooks.events_too", { types: others.join(", ") }) : "",
  ].filter(Boolean);
}

export function Hook({ hook, result, onTest, onTurn, onEdit, onDelete, onDismiss }) {
  const [tone, mark, word] = health(hook);
  const notes = [
    t("webhooks.language", { language: LANGUAGES[hook.language] ?? hook.language }),
    hook.secret && t("webhooks.signed"),
    hook.allow_private && t("webhooks.private"),
  ].filter(Boolean);
  return html`<li class="hook" data-enabled=${hook.enabled}>
    <div class="hook-name">
      <button class="switch" role="switch" aria-checked=${hook.enabled} onClick=${() => onTurn(hook)}
        aria-label=${t("webhooks.enabled", { name: hook.name })}><span>${hook.enabled ? t("webhooks.on") : t("webhooks.off")}</span></button>
      <div><h2>${hook.name}</h2><p class="muted small">${t(`webhooks.kind_${hook.kind}`)}</p><p class="mono">${hook.url}</p></div>
    </div>
    <div class="hook-tells">
      <p class="label">${t("webhooks.tells")}</p>
      <ul>${tells(hook.filter).map((line) => html`<li>${line}</li>`)}</ul>
      <p class="muted small">${notes.join(" · ")}</p>
    </div>
    <div class="hook-health">
      <p class="label">${t("webhooks.health")}</p>
      <p class="tone ${tone}"><span class="mark" aria-hidden="true">${mark}</span> ${word}</p>
      <dl class="pairs">
        <div><dt>${t("webhooks.delivered")}</dt><dd>${number(hook.delivered)}</dd></div>
        <div><dt>${t("webhooks.failed")}</dt><dd>${number(hook.failed)}</dd></div>
        <div><dt>${t("webhooks.given_up")}</dt><dd>${number(hook.given_up)}</dd></div>
        <div><dt>${t("webhooks.last_success")}</dt><dd>${hook.last_success_ms ? age(hook.last_success_ms) : t("webhooks.never")}</dd></div>
      </dl>
      ${hook.refusing && html`<${Refused} refusal=${hook.last_refusal} />`}
      ${hook.last_answer && html`<p class="muted small">${t("webhooks.last_answer", { answer: hook.last_answer })}</p>`}
    </div>
    <div class="row">
      <button disabled=${result?.running} onClick=${() => onTest(hook)}>${t("webhooks.test")}<span class="only-read"> ${hook.name}</span></button>
      <button onClick=${() => onEdit(hook)}>${t("webhooks.edit")}<span class="only-read"> ${hook.name}</span></button>
      <button onClick=${() => onDelete(hook)}>${t("webhooks.delete")}<span class="only-read"> ${hook.name}</span></button>
    </div>
    <div class="hook-result" role="status">${result && html`<${Result} result=${result} onDismiss=${onDismiss} />`}</div>
  </li>`;
}

/** The last message that it refused, and what to do. */
function Refused({ refusal }) {
  return html`<div class="notice bad">
    <p>${t(refusal.given_up ? "webhooks.refused_given_up" : "webhooks.refused", { title: refusal.title, when: age(refusal.time_ms) })}</p>
    <p class="small">${refusal.remedy}</p>
  </div>`;
}

function Result({ result, onDismiss }) {
  if (result.running) return html`<p>${t("webhooks.testing")}</p>`;
  const answer = result.answer;
  return html`<div class="notice ${answer?.ok ? "good" : "bad"}">
    <p><span class="mark" aria-hidden="true">${answer?.ok ? "✓" : "✗"}</span> ${result.problem ? result.problem.message : outcome(answer)}</p>
    ${answer?.excerpt && html`<p class="label">${t("webhooks.answer")}</p><pre>${answer.excerpt}</pre>`}
    <button onClick=${onDismiss}>${t("webhooks.close")}</button>
  </div>`;
}

function outcome({ ok, status, error, duration_ms }) {
  const values = { status: String(status), error, took: duration(duration_ms) };
  if (ok) return t("webhooks.test_ok", values);
  return t(status === null ? "webhooks.test_failed" : "webhooks.test_failed_status", values);
}
