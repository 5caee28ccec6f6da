// SPDX-License-Identifier: MIT
/** The instances of a service that were up, over the last hours: a column per few minutes, showing the worst of them. */
import { html, useMemo } from "../lib/html.js";
import { dateTime, percent, time } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { navigate } from "../lib/router.js";
import { ColumnStrip } from "./column-strip.js";

const MOST_COLUMNS = 120;
const MINUTE_MS = 60_000;

/** Returns {startMs, stepMs, count} of the columns of a range that ends at `endMs`. */
export function columnsOver(rangeMs, endMs) {
  const stepMs = Math.ceil(rangeMs / MOST_COLUMNS / MINUTE_MS) * MINUTE_MS;
  const count = Math.ceil(rangeMs / stepMs);
  const last = Math.floor(endMs / stepMs) * stepMs;
  return { startMs: last - (count - 1) * stepMs, stepMs, count };
}

/**
 * Returns the columns of each service: {up, total} of the worst minute, or undefined without data.
 * @param {{service: string, minute_ms: number, total: number, up: number}[]} cells
 */
export function byService(cells, { startMs, stepMs, count }) {
  const found = new Map();
  for (const cell of cells) {
    const at = Math.floor((cell.minute_ms - startMs) / stepMs);
    if (at < 0 || at >= count || !cell.total) continue;
    let columns = found.get(cell.service);
    if (!columns) found.set(cell.service, (columns = new Array(count)));
    const old = columns[at];
    if (!old || cell.up / cell.total < old.up / old.total) columns[at] = cell;
  }
  return found;
}

/** @param {{service: string, cells: any[] | undefined, span: {startMs: number, stepMs: number, count: number}}} props */
export function HeatMap({ service, cells = [], span }) {
  const columns = useMemo(() => Array.from({ length: span.count }, (_, i) => {
    const cell = cells[i];
    const fromMs = span.startMs + i * span.stepMs;
    return {
      share: cell ? cell.up / cell.total : null,
      words: () => (cell
        ? t("services.heat_cell", { time: dateTime(fromMs), up: cell.up, total: cell.total, share: percent(cell.up / cell.total, 1) })
        : t("services.nothing_known", { time: dateTime(fromMs) })),
    };
  }), [cells, span]);
  const known = cells.filter(Boolean);
  const worst = known.reduce((low, one) => (!low || one.up / one.total < low.up / low.total ? one : low), null);
  const label = worst
    ? t("services.heat_label", { service, share: percent(worst.up / worst.total, 1), time: time(worst.minute_ms) })
    : t("services.heat_none", { service });
  const open = (i) => {
    const fromMs = span.startMs + i * span.stepMs;
    navigate(`/events?service=${encodeURIComponent(service)}&range=custom&start=${fromMs}&end=${fromMs + span.stepMs - 1}`);
  };
  return html`<${ColumnStrip} columns=${columns} label=${label} open=${open} />`;
}
