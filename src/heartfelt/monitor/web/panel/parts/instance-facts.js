// SPDX-License-Identifier: MIT
/** The data of an instance: its metadata, its plugins and agents, and everything else in its beats. */
import { html } from "../lib/html.js";
import { age, dateTime, duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";

const NONE = "–";
// Fields of a beat that are shown with labels of their own; all other fields are shown as they came.
const SHOWN = new Set(["hostName", "ip", "appType", "version", "appName", "artifact", "processId", "dynamicInstall", "pluginInfoMap",
  "externalAgentInfoMap", "extInfoFailures"]);

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const ago = (ms, nowMs) => html`<time datetime=${new Date(ms).toISOString()}>${dateTime(ms)}</time> <span class="muted nowrap">${age(ms, nowMs)}</span>`;

/** Its period: as it was set, or about how it was learned. */
function periodOf({ period_ms: periodMs, lease_source: source }) {
  if (periodMs === null) return null;
  return source === "learned" ? t("instance.period_about", { period: duration(periodMs) }) : duration(periodMs);
}

/** The timeout in effect, and where it comes from. */
function timeoutOf({ lease_ms: leaseMs, period_ms: periodMs, grace_ms: graceMs, lease_source: source }) {
  const isOfPeriod = periodMs !== null && periodMs + graceMs === leaseMs;
  const timeout = isOfPeriod
    ? `${duration(leaseMs)} (${t("instance.timing_of_period", { period: duration(periodMs), grace: duration(graceMs) })})`
    : duration(leaseMs);
  return t(`instance.timing_by_${source}`, { timeout });
}

function rowsOf(one, nowMs) {
  const { meta } = one;
  const rows = [
    ["service", html`<a href=${`/instances?service=${encodeURIComponent(one.service)}`}>${one.service}</a>`],
    ["app", one.app],
    ["instance_id", html`<span class="mono">${one.instance_id}</span>`],
    ["host", one.host],
    ["ips", one.ips.length ? html`<span class="mono">${one.ips.join(", ")}</span>` : null],
    ["version", one.version],
    ["app_type", meta.appType === undefined ? null : asText(meta.appType)],
    ["artifact", one.artifact],
    ["process_id", one.process_id],
    ["dynamic_install", one.dynamic_install === null ? null : t(one.dynamic_install ? "instances.yes" : "instances.no")],
    ["last_beat", ago(one.last_beat_ms, nowMs)],
    ["first_seen", ago(one.first_seen_ms, nowMs)],
    ["beats", number(one.beats)],
    ["interval", one.interval_ms === null ? null : duration(one.interval_ms)],
    ["period", periodOf(one)],
    ["lease", timeoutOf(one)],
    ["expected", t(one.expected ? "instance.expected_yes" : "instance.expected_no")],
    ["skew", one.skew_ms === null ? null : duration(one.skew_ms)],
    ["lag", one.lag_ms === null ? null : duration(one.lag_ms)],
    ["peer", `${one.peer || NONE} (${one.via})`],
  ];
  return rows.filter(([, value]) => value !== null && value !== "");
}

export function Facts({ instance, nowMs }) {
  const more = Object.entries(instance.meta).filter(([name]) => !SHOWN.has(name));
  return html`<section class="panel" aria-labelledby="facts">
    <h2 id="facts">${t("instance.facts")}</h2>
    <dl class="facts">
      ${rowsOf(instance, nowMs).map(([name, value]) => html`<div key=${name}><dt>${t(`instance.${name}`)}</dt><dd>${value}</dd></div>`)}
      ${more.map(([name, value]) => html`<div key=${`meta ${name}`}>
        <dt class="mono">${name}</dt><dd class="mono">${asText(value)}</dd>
      </div>`)}
    </dl>
  </section>`;
}

const mapOf = (value) => (value && typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : []);

function Extra({ info, failure }) {
  return html`
    ${failure && html`<p class="warning-text">${t("instance.ext_failed", { why: asText(failure) })}</p>`}
    ${mapOf(info).map(([name, value]) => html`<div key=${name} class="pair"><span class="muted">${name}</span> ${asText(value)}</div>`)}`;
}

export function Plugins({ instance }) {
  const { meta, plugins, external_agents: agents } = instance;
  const failures = Object.fromEntries(mapOf(meta.extInfoFailures));
  const infos = Object.fromEntries(mapOf(meta.pluginInfoMap));
  const names = [...new Set([...Object.keys(plugins), ...Object.keys(failures)])];
  return html`<section class="panel" aria-labelledby="plugins">
    <h2 id="plugins">${t("instance.plugins", { n: names.length })}</h2>
    ${names.length
      ? html`<div class="scroll"><table>
        <thead><tr><th scope="col">${t("instance.name")}</th><th scope="col">${t("instance.version")}</th>
          <th scope="col">${t("instance.ext")}</th></tr></thead>
        <tbody>${names.map((name) => html`<tr key=${name}>
          <th scope="row" class="plain">${name}</th><td>${plugins[name] || NONE}</td>
          <td><${Extra} info=${infos[name]?.extInfo} failure=${failures[name]} /></td>
        </tr>`)}</tbody>
      </table></div>`
      : html`<p class="panel-body muted">${t("instance.no_plugins")}</p>`}
    ${Object.keys(agents).length > 0 && html`
      <h3 class="panel-head">${t("instance.agents")}</h3>
      <table><tbody>${Object.entries(agents).map(([name, version]) => html`<tr key=${name}>
        <th scope="row" class="plain">${name}</th><td>${version || NONE}</td>
      </tr>`)}</tbody></table>`}
  </section>`;
}
