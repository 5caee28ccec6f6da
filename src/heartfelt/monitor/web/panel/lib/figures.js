// SPDX-License-Identifier: MIT
/**
 * Figures in a sentence, as the monitor itself writes them (monitor/reasons/figures.py): the same digits in both places,
 * which tests/monitor/reasons/vectors.json holds them to.
 */
const UNITS = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** 12345 as "12,345". */
export const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** 52 of factor 10 as "5.2", 50 as "5". */
function trimmed(scaled, factor, digits) {
  const rest = scaled % factor;
  const whole = count((scaled - rest) / factor);
  return rest ? `${whole}.${String(rest).padStart(digits, "0").replace(/0+$/, "")}` : whole;
}

/**
 * The two largest units, the rest cut off: "0.4 ms", "850 ms", "5.2 s", "3 min 12 s", "2 d 4 h".
 *
 * @param {number} ms @param {Record<string, string>} units of a language: {s: "{} s", ..., joint: " "}
 */
export function duration(ms, units) {
  const write = (name, text) => units[name].replace("{}", text);
  const sign = ms < 0 ? "-" : "";
  const size = Math.abs(ms);
  if (size < 10) return sign + write("ms", trimmed(Math.floor(size * 10), 10, 1));
  const whole = Math.floor(size);
  if (whole < 1000) return sign + write("ms", String(whole));
  if (whole < 60_000) return sign + write("s", trimmed(Math.floor(whole / 100), 10, 1));
  const seconds = Math.floor(whole / 1000);
  const n = UNITS.findIndex(([unit]) => seconds >= unit);
  const [unit, name] = UNITS[n];
  const [nextUnit, nextName] = UNITS[n + 1];
  const rest = Math.floor((seconds % unit) / nextUnit);
  const text = write(name, count(Math.floor(seconds / unit)));
  return sign + (rest ? text + units.joint + write(nextName, String(rest)) : text);
}

/** 333.3 as "333", 2.5 as "2.5", 0.001 as "<0.01". */
export function rate(perSecond) {
  if (perSecond >= 9.995) return count(Math.floor(perSecond + 0.5));
  const hundredths = Math.floor(perSecond * 100 + 0.5);
  if (hundredths < 1) return perSecond > 0 ? "<0.01" : "0";
  return trimmed(hundredths, 100, 2);
}

/** 0.5 as "50%", 0.333 as "33.3%". */
export const share = (part) => `${trimmed(Math.floor(part * 1000 + 0.5), 10, 1)}%`;

/** "2025-11-22 12:00:00Z". */
export const utc = (ms) => new Date(Math.floor(ms / 1000) * 1000).toISOString().replace("T", " ").replace(".000Z", "Z");
