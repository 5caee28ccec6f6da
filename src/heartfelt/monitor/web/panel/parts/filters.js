// SPDX-License-Identifier: MIT
/** Filters kept in the address: chips for those that are set, and a form to add another. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";

/**
 * @typedef {{name: string, words: string, known?: string[]}} Field `known`: suggested values; others may be typed
 * @param {{fields: Field[], params: URLSearchParams, setParams: Function}} props
 */
export function Filters({ fields, params, setParams }) {
  const [name, setName] = useState(fields[0].name);
  const field = fields.find((one) => one.name === name) ?? fields[0];
  const input = useRef(null);
  const set = fields.flatMap((one) => params.getAll(one.name).map((value) => ({ ...one, value })));
  const add = (event) => {
    event.preventDefault();
    const value = input.current.value.trim();
    if (!value) return;
    input.current.value = "";
    setParams({ [name]: [...new Set([...params.getAll(name), value])] });
  };
  const remove = (one) => setParams({ [one.name]: params.getAll(one.name).filter((value) => value !== one.value) });
  const list = `known-${fields[0].name}-${name}`;
  return html`
    <form class="filter-add" onSubmit=${add}>
      <select aria-label=${t("parts.filter_by")} value=${name} onChange=${(event) => setName(event.target.value)}>
        ${fields.map((one) => html`<option key=${one.name} value=${one.name}>${one.words}</option>`)}
      </select>
      <input ref=${input} list=${list} aria-label=${field.words} placeholder=${t("parts.filter_value")} maxlength="1000"
        spellcheck="false" autocomplete="off" />
      <datalist id=${list}>${(field.known ?? []).map((value) => html`<option key=${value} value=${value} />`)}</datalist>
      <button>${t("parts.filter_add")}</button>
    </form>
    ${set.length > 0 && html`<div class="chips filter-set" role="group" aria-label=${t("parts.filters")}>
      ${set.map((one) => html`<button key=${`${one.name} ${one.value}`} type="button" class="chip" onClick=${() => remove(one)}
          aria-label=${t("parts.filter_remove", { filter: `${one.words} ${one.value}` })}>
        <span class="muted">${one.words}</span><span class="cut">${one.value}</span><span aria-hidden="true">×</span>
      </button>`)}
      <button type="button" class="quiet" onClick=${() => setParams(Object.fromEntries(fields.map((one) => [one.name, null])))}>
        ${t("parts.filter_none")}
      </button>
    </div>`}`;
}

/** A search field whose text is put into the address when typing pauses. `/` focuses it. */
export function Search({ value, onChange, label }) {
  const input = useRef(null);
  useEffect(() => {
    if (document.activeElement !== input.current) input.current.value = value; // the address was changed elsewhere
  }, [value]);
  const timer = useRef(0);
  const tell = (event) => {
    const text = event.target.value;
    clearTimeout(timer.current);
    if (event.type === "change") onChange(text.trim()); // at once, since a click that ends the typing may clear it
    else timer.current = setTimeout(() => onChange(text.trim()), 250);
  };
  return html`<input type="search" class="search" ref=${input} defaultValue=${value} onInput=${tell} onChange=${tell}
    aria-label=${label} placeholder=${label} maxlength="1000" spellcheck="false" autocomplete="off" />`;
}
