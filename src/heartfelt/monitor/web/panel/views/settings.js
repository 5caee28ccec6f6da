// SPDX-License-Identifier: MIT
/** All settings, each with the source of its value. Read-only: they are set when the monitor starts. */
import { html } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useNow } from "../lib/clock.js";
import { duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { usePolled } from "../lib/poll.js";
import { useQuery } from "../lib/router.js";
import { readStats, stats } from "../lib/stats.js";
import { useStore } from "../lib/store.js";
import { Empty, Failure, Loading } from "../parts/notes.js";

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** A value as written in the configuration, with its unit. */
function valueText(value, unit) {
  if (value === null) return t("settings.unset");
  if (Array.isArray(value)) return value.join(", ") || t("settings.empty_list");
  return unit ? `${value} ${unit}` : String(value);
}

/** The value in a more readable form: 604800 s is 7 d. */
function easier(value, unit) {
  if (unit === "s" && value >= 120) return duration(value * 1000);
  if (unit !== "B" || value < 1024) return "";
  const step = Math.min(3, Math.floor(Math.log2(value) / 10));
  return `${number(value / 1024 ** step, 1)} ${["B", "KiB", "MiB", "GiB"][step]}`;
}

/** "lease.timeout" -> "lease"; settings of services form one group. */
const groupOf = (name) => name.split(".")[0];

const serverText = (one) => `${one.name} ${t(one.error === null ? "settings.server_ok" : "settings.server_faulty")}`;

export default function View() {
  const read = async (signal) => {
    const [settings] = await Promise.all([get("/api/v1/settings", {}, { signal }), readStats()]);
    return settings;
  };
  const { data, error, reload } = usePolled(read, 0);
  const { started_ms, monitors, parts } = useStore(stats) ?? {};
  const redis = parts?.redis;
  const [query, setQuery] = useQuery();
  const nowMs = useNow();
  const text = query.get("text") ?? "";
  const changed = query.has("changed");
  const fits = (one) =>
    (!changed || !same(one.value, one.default)) &&
    `${one.name}\n${one.meaning}\n${one.source}\n${valueText(one.value, one.unit)}`.toLowerCase().includes(text.toLowerCase());
  const rows = data?.settings.filter(fits) ?? [];

  return html`<div class="admin">
    <div><h1>${t("settings.title")}</h1><p class="muted">${t("settings.lead")}</p></div>
    ${error && html`<${Failure} error=${error} retry=${reload} />`}
    ${!data && !error && html`<${Loading} />`}
    ${data && html`
      <dl class="pairs">
        <div><dt>${t("settings.version")}</dt><dd>${data.version}</dd></div>
        <div><dt>${t("settings.running")}</dt><dd>${duration(nowMs - started_ms)}</dd></div>
        ${redis && html`<div><dt>Redis</dt><dd>${redis.servers.map(serverText).join(", ")}</dd></div>`}
      </dl>
      ${monitors.length > 0 && html`<section class="monitors" aria-label=${t("settings.monitors", { n: monitors.length })}>
        <h2>${t("settings.monitors", { n: monitors.length })}</h2><ul>${monitors.map((one) => html`<li key=${one.id}>
          ${one.host} <span class="mono">${one.address}</span> <span class="muted">${one.version}${
            one.leads ? ` · ${t("settings.leads")}` : ""}${one.asked ? ` · ${t("settings.asked")}` : ""}</span></li>`)}</ul></section>`}
      ${data.warnings.length > 0 && html`<section class="notice poor" aria-label=${t("settings.warnings")}>
        <h2>${t("settings.warnings")}</h2><ul>${data.warnings.map((one) => html`<li>${one}</li>`)}</ul></section>`}
      <div class="row" role="search">
        <input type="search" value=${text} placeholder=${t("settings.search")} aria-label=${t("settings.search")}
          onInput=${(event) => setQuery({ text: event.target.value })} />
        <label class="tick"><input type="checkbox" checked=${changed}
          onChange=${(event) => setQuery({ changed: event.target.checked ? "1" : null })} /> ${t("settings.only_changed")}</label>
        <p class="muted" role="status">${t("settings.count", { n: rows.length })}</p>
      </div>
      ${rows.length ? html`<${Table} rows=${rows} />` : html`<${Empty} title=${t("settings.none_found")} hint=${t("settings.none_found_hint")}>
        <button onClick=${() => setQuery({ text: null, changed: null })}>${t("settings.show_all")}</button><//>`}
    `}
  </div>`;
}

function Value({ value, unit, differs }) {
  const text = valueText(value, unit);
  const words = easier(value, unit);
  return html`<span>${differs ? html`<b>${text}</b>` : text}${words && html` <span class="muted nowrap">${words}</span>`}</span>`;
}

function Table({ rows }) {
  return html`<table class="stacked settings">
    <thead><tr>${["name", "value", "source", "default", "meaning"].map((name) =>
      html`<th scope="col">${t(`settings.${name}`)}</th>`)}</tr></thead>
    <tbody>${rows.map((one, i) => {
      const differs = !same(one.value, one.default);
      const first = i > 0 && groupOf(one.name) !== groupOf(rows[i - 1].name);
      return html`<tr key=${one.name} class=${first ? "first" : ""} data-changed=${differs}>
        <th scope="row" class="mono" data-label=${t("settings.name")}>${one.name}</th>
        <td class="mono" data-label=${t("settings.value")}><${Value} value=${one.value} unit=${one.unit} differs=${differs} /></td>
        <td data-label=${t("settings.source")} class=${one.source === "default" ? "muted" : ""}>${one.source === "default" ? t("settings.from_default") : one.source}</td>
        <td class="mono muted" data-label=${t("settings.default")}>${valueText(one.default, one.unit)}</td>
        <td data-label=${t("settings.meaning")}>${one.meaning}</td>
      </tr>`;
    })}</tbody>
  </table>`;
}
