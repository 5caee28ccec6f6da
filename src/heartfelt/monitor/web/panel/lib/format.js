// SPDX-License-Identifier: MIT
/** Numbers and times by language. Times come in ms since the epoch; a time that is not known is a dash. */
import CATALOGUE from "../words/reasons.js";
import { now } from "./clock.js";
import { duration as durationIn } from "./figures.js";
import { language } from "./i18n.js";

const NONE = "–";
const made = new Map();

/** Making a formatter costs 50 us: each is made once. */
function formatter(kind, options) {
  const locale = language() === "zh" ? "zh-CN" : "en-GB";
  const key = `${kind.name} ${locale} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new kind(locale, options));
  return made.get(key);
}

const isNone = (value) => value === null || value === undefined || Number.isNaN(value);

/** 12345 as "12,345". */
export const number = (value, digits = 0) =>
  isNone(value) ? NONE : formatter(Intl.NumberFormat, { maximumFractionDigits: digits }).format(value);

/** 12345 as "12K" ("1.2万"), for narrow places. */
export const compact = (value) =>
  isNone(value) ? NONE : formatter(Intl.NumberFormat, { notation: "compact", maximumSignificantDigits: 3 }).format(value);

/** 0.9987 as "99.87 %". Rounds down, so that 100 % means all. */
export function percent(share, digits = 2) {
  if (isNone(share)) return NONE;
  const factor = 10 ** (digits + 2);
  return formatter(Intl.NumberFormat, { style: "percent", maximumFractionDigits: digits }).format(
    Math.floor(share * factor + 1e-6) / factor,
  );
}

const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000]];

const unit = (value, name, digits = 0) =>
  formatter(Intl.NumberFormat, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits }).format(value);

/** How long: 350 as "350 ms", 5200 as "5.2 s", 3723000 as "1 h 2 min"; as in the monitor's own sentences. */
export const duration = (ms) => (isNone(ms) ? NONE : durationIn(ms, CATALOGUE.words[language()].units));

/** How long ago, by the monitor's clock: "3 min ago". `nowMs`: what `useNow` gave. */
export function age(ms, nowMs = now()) {
  if (isNone(ms)) return NONE;
  const gone = Math.max(0, nowMs - ms);
  const relative = formatter(Intl.RelativeTimeFormat, { numeric: "always", style: "short" });
  const [name, one] = UNITS.find(([, size]) => gone >= size) ?? UNITS[3];
  return relative.format(-Math.floor(gone / one), name);
}

/** A time of day. */
export const time = (ms) => (isNone(ms) ? NONE : formatter(Intl.DateTimeFormat, { timeStyle: "medium" }).format(ms));

/** Day and time of day. */
export const dateTime = (ms) =>
  isNone(ms) ? NONE : formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "medium" }).format(ms);

/** A day. */
export const date = (ms) => (isNone(ms) ? NONE : formatter(Intl.DateTimeFormat, { dateStyle: "medium" }).format(ms));

/** 1536 as "1.5 kB". */
export function bytes(count) {
  if (isNone(count)) return NONE;
  const names = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const step = Math.min(names.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  return unit(count / 1000 ** step, names[step], step ? 1 : 0);
}
