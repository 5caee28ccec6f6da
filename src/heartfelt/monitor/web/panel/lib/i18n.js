// SPDX-License-Identifier: MIT
/** Texts by language. A key is "file.word". A text missing in a language is shown in English, with a warning in the console. */
import en from "../words/en/index.js";
import zh from "../words/zh/index.js";
import { createKept } from "./kept.js";
import { useStore } from "./store.js";

const WORDS = { en, zh };
export const LANGUAGES = [["en", "English"], ["zh", "中文"]];
const preferred = (navigator.languages ?? []).map((one) => one.slice(0, 2)).find((one) => one in WORDS) ?? "en";
const chosen = createKept("language", Object.keys(WORDS), preferred);
const plurals = { en: new Intl.PluralRules("en"), zh: new Intl.PluralRules("zh") };
const numbers = { en: new Intl.NumberFormat("en"), zh: new Intl.NumberFormat("zh-CN") };

function apply() {
  document.documentElement.lang = chosen.get() === "zh" ? "zh-CN" : "en";
}

export function start() {
  apply();
  chosen.subscribe(apply);
}

/** "en" or "zh". */
export const language = () => chosen.get();

/** @returns {["en" | "zh", (next: string) => void]} Views are rendered again when the language changes. */
export const useLanguage = () => [useStore(chosen), chosen.set];

/**
 * Returns the text of a key. `{name}` stands for a value; numbers are formatted for the language. A text may be
 * {one, other}: the value `n` decides.
 */
export function t(key, values = {}) {
  const [file, word] = key.split(/\.(.*)/s);
  let lang = chosen.get();
  if (WORDS[lang][file]?.[word] === undefined) {
    console.warn(`no words for ${key} in ${lang}`);
    lang = "en";
  }
  let text = WORDS[lang][file]?.[word] ?? key;
  if (typeof text === "object") text = text[plurals[lang].select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? numbers[lang].format(value) : String(value);
  });
}
