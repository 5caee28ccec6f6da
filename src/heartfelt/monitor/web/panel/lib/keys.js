// SPDX-License-Identifier: MIT
/** Keyboard shortcuts. They are off while something is typed, and while a dialog is open. */
import { useEffect, useRef } from "./html.js";

/** The newest come first, so a view's shortcut overrides the shell's. */
const layers = [];

/**
 * @param {Record<string, (() => void) | {run: () => void, words: string}>} keys by `event.key`, or two pressed one
 * after the other: "g i". A shortcut with `words` is listed in the help that `?` shows.
 */
export function useKeys(keys) {
  const newest = useRef(keys);
  newest.current = keys;
  useEffect(() => {
    const layer = () => newest.current;
    layers.unshift(layer);
    return () => layers.splice(layers.indexOf(layer), 1);
  }, []);
}

/** Returns [[key, words], ...] of all present shortcuts. */
export function help() {
  const found = new Map();
  for (const layer of layers) {
    for (const [key, action] of Object.entries(layer())) {
      if (action.words && !found.has(key)) found.set(key, action.words);
    }
  }
  return [...found];
}

const isTyping = (target) =>
  target.isContentEditable || target.closest?.("select, textarea, input:not([type=checkbox], [type=radio], [type=button])");

let before = "";
let beforeMs = 0;

export function start() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    if (isTyping(event.target)) {
      if (event.key !== "Escape") return;
      event.preventDefault(); // a search field would clear itself
      event.target.blur();
      return;
    }
    const pair = performance.now() - beforeMs < 1000 ? `${before} ${event.key}` : "";
    before = event.key;
    beforeMs = performance.now();
    const find = (key) => layers.map((layer) => layer()[key]).find(Boolean);
    const action = (pair && find(pair)) || find(event.key);
    if (!action) return;
    event.preventDefault();
    (action.run ?? action)();
  });
}
