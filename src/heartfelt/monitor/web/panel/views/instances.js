// SPDX-License-Identifier: MIT
/** All instances in one table: filtered, searched and sorted by the monitor, live, of any length. */
import { html, useEffect, useRef } from "../lib/html.js";
import { useNow } from "../lib/clock.js";
import { useFleet } from "../lib/fleet.js";
import { number, time } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useInstanceRows } from "../lib/instance-rows.js";
import { useKeys } from "../lib/keys.js";
import { navigate, useQuery } from "../lib/router.js";
import { STATE_NAMES, stateMeaning, stateWord } from "../lib/state.js";
import { BulkActions } from "../parts/bulk-actions.js";
import { Filters, Search } from "../parts/filters.js";
import { CELLS, columnsOf, isPhone, usualColumns } from "../parts/instance-columns.js";
import { Empty, Failure, Loading } from "../parts/notes.js";
import { StateShape } from "../parts/state-mark.js";
import { VirtualTable } from "../parts/virtual-table.js";

const USUAL_SORT = "state"; // the worst first
const FILTERS = ["service", "app", "ip", "version", "plugin", "instance"];

function States({ params, setParams }) {
  const counts = useFleet((fleet) => fleet.all?.states);
  const chosen = params.getAll("state");
  const toggle = (state) =>
    setParams({ state: chosen.includes(state) ? chosen.filter((one) => one !== state) : [...chosen, state] });
  const isHeld = params.get("held") === "true";
  const held = useFleet((fleet) => fleet.all?.held) ?? 0;
  return html`<div class="chips" role="group" aria-label=${t("instances.col_state")}>
    ${STATE_NAMES.map((state) => html`<button key=${state} type="button" class="chip toggle" title=${stateMeaning(state)}
        aria-pressed=${chosen.includes(state)} onClick=${() => toggle(state)}>
      <${StateShape} state=${state} />${stateWord(state)} <b>${number(counts?.[state] ?? 0)}</b>
    </button>`)}
    ${(held > 0 || isHeld) && html`<button type="button" class="chip toggle" aria-pressed=${isHeld}
        onClick=${() => setParams({ held: isHeld ? null : "true" })}>${t("states.held")} <b>${number(held)}</b></button>`}
  </div>`;
}

function Columns({ names, setParams }) {
  const toggle = (name) => {
    const next = Object.keys(CELLS).filter((one) => (one === name) !== names.includes(one));
    setParams({ cols: next.join() === inOrder(usualColumns()).join() ? null : next.join() });
  };
  return html`<details class="columns">
    <summary>${t("instances.columns")}</summary>
    <div class="columns-list">
      ${Object.keys(CELLS).map((name) => html`<label key=${name}>
        <input type="checkbox" checked=${names.includes(name)} disabled=${name === "instance"} onChange=${() => toggle(name)} />
        ${t(`instances.col_${name}`)}
      </label>`)}
      <button type="button" onClick=${() => setParams({ cols: null })}>${t("instances.columns_usual")}</button>
    </div>
  </details>`;
}

const inOrder = (names) => Object.keys(CELLS).filter((name) => names.includes(name));

/** What was asked for without its order. */
const filterOf = ({ sort, ...filter }) => filter;

/** Columns missing on a phone are on the instance's page. */
function columnNames(params) {
  const given = params.get("cols");
  return given ? given.split(",").filter((name) => name in CELLS) : usualColumns();
}

export default function Instances() {
  const [params, setParams] = useQuery();
  const sort = params.get("sort") ?? USUAL_SORT;
  const asked = { sort, text: params.get("text"), held: params.get("held") };
  for (const name of [...FILTERS, "state"]) asked[name] = params.getAll(name);
  const rows = useInstanceRows(asked);
  const nowMs = useNow(1000);
  const names = columnNames(params);
  const columns = columnsOf(names);
  const services = useFleet((fleet) => fleet.services);
  const fields = FILTERS.map((name) => ({
    name, words: t(`instances.col_${{ plugin: "plugins" }[name] ?? name}`), known: name === "service" ? Object.keys(services) : [],
  }));
  const toolbar = useRef(null);
  const focusSearch = () => toolbar.current?.querySelector(".search").select();
  useKeys({ "/": { run: focusSearch, words: t("shell.search") } });
  const wantsFocus = params.has("focus");
  useEffect(() => {
    if (!wantsFocus) return;
    focusSearch();
    setParams({ focus: null });
  }, [wantsFocus]);
  const isFiltered = Boolean(asked.text || asked.held || [...FILTERS, "state"].some((name) => asked[name].length));
  const clear = () => setParams(Object.fromEntries([...FILTERS, "state", "text", "held"].map((name) => [name, null])));
  return html`
    <div class="row spread">
      <h1>${t("instances.title")}</h1>
      <p class="muted small" aria-live="polite">${rows.key !== null
        && t("instances.shown", { n: rows.ids.length, total: rows.total, time: time(rows.readMs) })}</p>
    </div>
    <div class="toolbar" ref=${toolbar}>
      <${Search} value=${asked.text ?? ""} label=${t("instances.search")} onChange=${(text) => setParams({ text })} />
      <${Filters} fields=${fields} params=${params} setParams=${setParams} />
      <${Columns} names=${names} setParams=${setParams} />
      <${States} params=${params} setParams=${setParams} />
      ${rows.key !== null && html`<${BulkActions} filter=${filterOf(asked)} isFiltered=${isFiltered} n=${rows.ids.length} changed=${rows.again} />`}
    </div>
    <${Body} rows=${rows} columns=${columns} sort=${sort} setParams=${setParams} nowMs=${nowMs} isFiltered=${isFiltered}
      clear=${clear} />`;
}

function Body({ rows, columns, sort, setParams, nowMs, isFiltered, clear }) {
  if (rows.key === null) return rows.error ? html`<${Failure} error=${rows.error} retry=${rows.again} />` : html`<${Loading} />`;
  if (!rows.ids.length && !isFiltered) {
    return html`<${Empty} title=${t("instances.none")} hint=${t("instances.none_hint")} code="heartfelt beat demo" />`;
  }
  if (!rows.ids.length) {
    return html`<${Empty} title=${t("instances.no_match")} hint=${t("instances.no_match_hint", { n: rows.total })}>
      <p><button type="button" onClick=${clear}>${t("parts.filter_none")}</button></p>
    <//>`;
  }
  return html`
    ${rows.error && html`<${Failure} error=${rows.error} retry=${rows.again} />`}
    <${VirtualTable} ids=${rows.ids} rowOf=${rows.row} columns=${columns} label=${t("instances.title")} sort=${sort}
      onSort=${(next) => setParams({ sort: next === USUAL_SORT ? null : next })} onRange=${rows.want} resetKey=${rows.key}
      hrefOf=${(id) => `/instances/${id}`} open=${navigate} nowMs=${nowMs} rowHeight=${isPhone() ? 44 : 32} />`;
}
