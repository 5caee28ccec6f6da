// SPDX-License-Identifier: MIT
/**
 * A table of any number of rows; only those in sight are in the page. Rows are identified by id: when the order
 * changes, the focused row, or the first one in sight, stays where it is, so that readers keep their place.
 */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useKeys } from "../lib/keys.js";
import { Component } from "../vendor/preact-11.2.0.js";

const BEYOND = 10; // rows rendered above and below those in sight
const STEP = 5; // rows scrolled before others are rendered

/**
 * @typedef {{name: string, words: string, width: number, sort?: string, end?: boolean,
 *   cell: (row: any, nowMs: number) => any}} Column `end`: aligned to the right, for figures
 * @param {{ids: number[], rowOf: (id: number) => any, columns: Column[], label: string, sort: string,
 *   onSort: (sort: string) => void, onRange: (first: number, last: number) => void, resetKey: string,
 *   hrefOf: (id: number) => string, open: (href: string) => void, nowMs: number, rowHeight?: number}} props
 * `resetKey`: when it changes, the table scrolls to its top. A row's link has the class `row-link`.
 */
export function VirtualTable(props) {
  const { ids, rowOf, columns, label, sort, onSort, onRange, resetKey, hrefOf, open, nowMs, rowHeight = 34 } = props;
  const box = useRef(null);
  const before = useRef({ ids: [], resetKey: null });
  const cursor = useRef(0); // the row from which j and k move
  const toFocus = useRef(0);
  const [range, setRange] = useState([0, 40]);

  const look = () => {
    if (!box.current) return; // it was just removed
    const { scrollTop, clientHeight } = box.current;
    const first = Math.max(0, Math.floor(scrollTop / rowHeight / STEP) * STEP - BEYOND);
    const last = Math.ceil((scrollTop + clientHeight) / rowHeight / STEP) * STEP + BEYOND;
    setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
  };

  useLayoutEffect(() => {
    const old = before.current;
    before.current = { ids, resetKey };
    if (old.resetKey !== resetKey) box.current.scrollTop = 0;
    else if (old.ids !== ids) keepPlace(box.current, old.ids, ids, rowHeight);
    look();
  }, [ids, resetKey, rowHeight]);

  useEffect(() => {
    const watcher = new ResizeObserver(look);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);

  const first = Math.min(range[0], Math.max(0, ids.length - 1));
  const last = Math.min(range[1], ids.length);
  useEffect(() => onRange(first, last), [first, last, ids]);
  useLayoutEffect(() => {
    if (!toFocus.current) return;
    const link = box.current.querySelector(`tr[data-id="${toFocus.current}"] .row-link`);
    if (!link) return;
    toFocus.current = 0;
    link.focus({ preventScroll: true });
  });

  const move = (step) => {
    const at = ids.indexOf(cursor.current);
    const { scrollTop, clientHeight } = box.current;
    const next = at < 0 ? Math.ceil(scrollTop / rowHeight) : Math.max(0, Math.min(ids.length - 1, at + step));
    if (ids[next] === undefined) return;
    cursor.current = toFocus.current = ids[next];
    const head = box.current.querySelector("thead").offsetHeight;
    if (next * rowHeight < scrollTop) box.current.scrollTop = next * rowHeight;
    else if ((next + 1) * rowHeight + head > scrollTop + clientHeight) {
      box.current.scrollTop = (next + 1) * rowHeight + head - clientHeight;
    }
    look();
    const link = box.current.querySelector(`tr[data-id="${toFocus.current}"] .row-link`);
    if (link) {
      toFocus.current = 0;
      link.focus({ preventScroll: true });
    }
  };
  useKeys({
    j: { run: () => move(1), words: t("parts.next_row") },
    k: { run: () => move(-1), words: t("parts.previous_row") },
  });

  const follow = (event) => {
    if (event.defaultPrevented || event.target.closest("a, button, summary") || String(getSelection())) return;
    const id = event.target.closest("tr")?.dataset.id;
    if (id) open(hrefOf(Number(id)));
  };
  const remember = (event) => {
    const id = event.target.closest("tr")?.dataset.id;
    if (id) cursor.current = Number(id);
  };
  const width = columns.reduce((sum, column) => sum + column.width, 0);
  return html`
    <div class="vt" ref=${box} onScroll=${look} tabindex="0" role="region" aria-label=${label}>
      <table style=${{ width: `max(100%, ${width}px)` }} aria-rowcount=${ids.length + 1} aria-label=${label}>
        <colgroup>${columns.map((one) => html`<col key=${one.name} style=${{ width: `${one.width}px` }} />`)}</colgroup>
        <thead>
          <tr aria-rowindex="1">
            ${columns.map((one) => html`<${Head} key=${one.name} column=${one} sort=${sort} onSort=${onSort} />`)}
          </tr>
        </thead>
        <${Space} height=${first * rowHeight} />
        <tbody onClick=${follow} onFocusIn=${remember}>
          ${ids.slice(first, last).map((id, n) => html`<${Row} key=${id} id=${id} index=${first + n} row=${rowOf(id)}
            columns=${columns} nowMs=${nowMs} />`)}
        </tbody>
        <${Space} height=${Math.max(0, ids.length - last) * rowHeight} />
      </table>
    </div>`;
}

/** Scrolls so that the reader keeps their place. At the top, with nothing focused, it stays at the top. */
function keepPlace(box, oldIds, ids, rowHeight) {
  const focused = box.contains(document.activeElement) && document.activeElement.closest("tr")?.dataset.id;
  let at = focused ? oldIds.indexOf(Number(focused)) : -1;
  if (at < 0) {
    if (box.scrollTop < rowHeight) return;
    at = Math.floor(box.scrollTop / rowHeight);
  }
  const most = Math.min(oldIds.length, at + 200); // skips rows that are gone
  for (; at < most; at += 1) {
    const now = ids.indexOf(oldIds[at]);
    if (now >= 0) {
      box.scrollTop += (now - at) * rowHeight;
      return;
    }
  }
}

function Head({ column, sort, onSort }) {
  const { words, end } = column;
  if (!column.sort) return html`<th scope="col" class=${end ? "end" : ""}>${words}</th>`;
  const way = sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : "none";
  const next = way === "ascending" ? `-${column.sort}` : column.sort;
  return html`
    <th scope="col" aria-sort=${way} class=${end ? "end" : ""}>
      <button type="button" class="vt-sort" onClick=${() => onSort(next)}>
        ${words}<span class="vt-arrow" aria-hidden="true">${{ ascending: "▲", descending: "▼", none: "" }[way]}</span>
      </button>
    </th>`;
}

function Space({ height }) {
  return html`<tbody class="vt-space" aria-hidden="true"><tr style=${{ height: `${height}px` }}></tr></tbody>`;
}

/** Rendered again when its row or the time changes, but not by scrolling. */
class Row extends Component {
  shouldComponentUpdate(next) {
    const { row, index, columns, nowMs } = this.props;
    return next.row !== row || next.index !== index || next.nowMs !== nowMs || next.columns !== columns;
  }

  render({ id, index, row, columns, nowMs }) {
    const cells = row
      ? columns.map((one) => html`<td key=${one.name} class=${one.end ? "end" : ""}>${one.cell(row, nowMs)}</td>`)
      : html`<td colspan=${columns.length} class="vt-waits">…</td>`;
    return html`<tr data-id=${id} aria-rowindex=${index + 2}>${cells}</tr>`;
  }
}
