// SPDX-License-Identifier: MIT
/**
 * Reasons as sentences, from a code and its arguments. The codes and the sentences come from the monitor
 * (words/reasons.js is generated from monitor/reasons/), so they are the same as in its own messages.
 */
import CATALOGUE from "../words/reasons.js";
import { count, duration, rate, share } from "./figures.js";
import { dateTime } from "./format.js";
import { language } from "./i18n.js";

const MOST_DEPTH = 8;
const PIECE = /\[([^\][{}]*)\{(\w+)\}([^\][{}]*)\]|\{(\w+)\}/g;
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isInteger = (value) => Number.isInteger(value);
const isMoment = (value) => isInteger(value) && Math.abs(value) <= 8.64e15;
const isText = (value) => typeof value === "string";

/** For each kind of argument: a check of its value, and how it is written. */
const KINDS = {
  duration: [isInteger, (ms, { units }) => duration(ms, units)],
  time: [isMoment, (ms, { time }) => time(ms)],
  count: [isInteger, count],
  integer: [isInteger, String],
  rate: [isNumber, rate],
  share: [isNumber, share],
  text: [isText, (text) => text],
  reason: [(value) => typeof value === "object" && value !== null, (value, how) => sentence(value.code, value.args, how)],
};

/** Returns the sentence, or null if the code is unknown or its arguments are invalid. */
function sentence(code, args, how) {
  const known = isText(code) && Object.hasOwn(CATALOGUE.codes, code) ? CATALOGUE.codes[code] : null;
  if (known === null || typeof args !== "object" || args === null || Array.isArray(args) || how.depth >= MOST_DEPTH) return null;
  const deeper = { ...how, depth: how.depth + 1 };
  const written = {};
  for (const [name, kind, optional] of known) {
    const value = Object.hasOwn(args, name) ? args[name] : null;
    if (value === null && optional) continue;
    const [fits, write] = KINDS[kind];
    if (value === null || !fits(value)) return null;
    written[name] = write(value, deeper);
    if (written[name] === null) return null;
  }
  if (Object.keys(args).some((name) => !known.some(([one]) => one === name))) return null;
  return how.reasons[code].replace(PIECE, (_, before, optional, after, name) => {
    if (name !== undefined) return written[name];
    return optional in written ? before + written[optional] + after : "";
  });
}

/**
 * @param {string} code @param {Record<string, any>} args
 * @param {"en" | "zh"} lang
 * @param {(ms: number) => string} time formats a moment; by default in the reader's time zone
 * @returns {string | null} null if the code is unknown or its arguments are invalid
 */
export const sentenceOf = (code, args, lang, time = dateTime) =>
  sentence(code, args, { ...CATALOGUE.words[lang], time, depth: 0 });

/**
 * @param {{reason?: string, reason_code?: string, reason_args?: any}} of an instance, a change or a hold
 * @returns {string} in the reader's language; the monitor's English text if this page does not know the code
 */
export const reasonText = ({ reason = "", reason_code, reason_args }) =>
  sentenceOf(reason_code, reason_args, language()) ?? reason;
