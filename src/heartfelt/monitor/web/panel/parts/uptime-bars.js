// SPDX-License-Identifier: MIT
/** A service's uptime, one bar per day (UTC). */
import { html, useMemo } from "../lib/html.js";
import { date, percent } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { navigate } from "../lib/router.js";
import { ColumnStrip } from "./column-strip.js";

const DAY_MS = 86_400_000;

/**
 * Returns for each service {days: Map of day to row, watched, up, losses, share}.
 * @param {{service: string, day: string, watched_s: number, up_s: number, losses: number}[]} rows
 */
export function uptimeByService(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.service)) found.set(row.service, { days: new Map(), watched: 0, up: 0, losses: 0, share: null });
    const one = found.get(row.service);
    one.days.set(row.day, row);
    one.watched += row.watched_s;
    one.up += row.up_s;
    one.losses += row.losses;
    one.share = one.watched ? one.up / one.watched : null;
  }
  return found;
}

/** The share of the watched time; null: nothing was watched. */
export const uptimeWords = (share) => (share === null ? t("services.no_data") : percent(share, 3));

/** `uptime`: from `uptimeByService`; `today`: the start of this day in UTC, ms. */
export function UptimeBars({ service, uptime, days, today }) {
  const columns = useMemo(() => Array.from({ length: days }, (_, i) => {
    const fromMs = today - (days - 1 - i) * DAY_MS;
    const row = uptime?.days.get(new Date(fromMs).toISOString().slice(0, 10));
    const share = row?.watched_s ? row.up_s / row.watched_s : null;
    return {
      fromMs, share,
      words: () => (share === null
        ? t("services.nothing_known", { time: date(fromMs) })
        : t("services.day", { day: date(fromMs), share: percent(share, 3), n: row.losses })),
    };
  }), [uptime, days, today]);
  const label = t("services.uptime_label", { service, share: uptimeWords(uptime?.share ?? null), n: uptime?.losses ?? 0 });
  const open = (i) => {
    const { fromMs } = columns[i];
    navigate(`/events?service=${encodeURIComponent(service)}&type=STATE&range=custom&start=${fromMs}&end=${fromMs + DAY_MS - 1}`);
  };
  return html`<${ColumnStrip} columns=${columns} label=${label} open=${open} />`;
}
