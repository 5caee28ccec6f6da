// SPDX-License-Identifier: MIT
/**
 * Why an instance is in its state, in the reader's language. The monitor says it in English, in clauses joined by "; ":
 * in Chinese each clause is found in the catalogue by its shape. What is not there stays as it is: people and agents
 * give reasons of their own. Names in a clause are anybody's, so they may have a "; " in them.
 */
import { language } from "./i18n.js";
import CATALOGUE from "../words/zh/reasons.js";

const JOINT = "; ";
const MOST_CLAUSES = 12;
const MOST_LENGTH = 4000;
const MOST_KEPT = 1000;

/** What may stand in a place, by its kind. */
const KINDS = {
  span: "\\d+(?:\\.\\d+)? s",
  at: "\\d\\d:\\d\\d:\\d\\dZ",
  n: "\\d+",
  rate: "\\d[\\d.e+-]*",
  share: "\\d+%",
  via: "\\w+",
  peer: "\\S+",
  service: ".+",
  text: ".+",
  why: ".+", // which is a reason of its own
};
const PLACE = /\{(\w+)(?::(\w+))?\}/g;

/** [{pattern, chinese, kinds: kind by name}, ...] */
const CLAUSES = CATALOGUE.map(([english, chinese]) => {
  const kinds = {};
  let source = "";
  let end = 0;
  for (const { 0: place, 1: name, 2: kind = name, index } of english.matchAll(PLACE)) {
    source += `${escaped(english.slice(end, index))}(?<${name}>${KINDS[kind]})`;
    kinds[name] = kind;
    end = index + place.length;
  }
  return { pattern: new RegExp(`^${source}${escaped(english.slice(end))}$`, "s"), chinese, kinds };
});

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** One clause in Chinese; null: it is none that is known. */
function clauseOf(text, known) {
  for (const { pattern, chinese, kinds } of CLAUSES) {
    const match = pattern.exec(text);
    if (!match) continue;
    const values = { ...match.groups };
    for (const [name, kind] of Object.entries(kinds)) {
      if (kind === "span") values[name] = values[name].replace(/ s$/, "秒");
      else if (kind === "why") values[name] = sentenceOf(values[name], known);
    }
    if (Object.values(values).includes(null)) continue;
    return chinese.replace(PLACE, (_, name) => values[name]);
  }
  return null;
}

/** All of it in Chinese, or null. `known`: what was found out about parts of it. */
function sentenceOf(text, known) {
  if (known.has(text)) return known.get(text);
  const parts = text.split(JOINT);
  let found = null;
  for (let n = 1; found === null && n < parts.length && parts.length <= MOST_CLAUSES; n++) {
    const first = clauseOf(parts.slice(0, n).join(JOINT), known);
    const rest = first && sentenceOf(parts.slice(n).join(JOINT), known);
    if (rest) found = `${first}；${rest}`;
  }
  if (parts.length <= MOST_CLAUSES) found ??= clauseOf(text, known); // last: words of one's own may be of any length
  known.set(text, found);
  return found;
}

/** The whole sentence in Chinese; null if the catalogue does not have all of it. */
export function inChinese(text) {
  return text.length > MOST_LENGTH ? null : sentenceOf(text, new Map());
}

/** As much of it as is known, clause by clause. */
function asFarAsKnown(text) {
  const whole = inChinese(text);
  if (whole !== null || text.length > MOST_LENGTH) return whole ?? text;
  const parts = text.split(JOINT);
  const found = parts.length > MOST_CLAUSES ? [] : parts.map((one) => clauseOf(one, new Map()));
  return found.some((one) => one !== null) ? found.map((one, i) => one ?? parts[i]).join("；") : text;
}

const kept = new Map();

/** @param {string} text as the monitor tells it @returns {string} as it is shown */
export function reasonText(text) {
  if (language() !== "zh" || typeof text !== "string") return text;
  let shown = kept.get(text);
  if (shown === undefined) {
    if (kept.size >= MOST_KEPT) kept.clear();
    shown = asFarAsKnown(text);
    kept.set(text, shown);
  }
  return shown;
}
