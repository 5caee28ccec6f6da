// SPDX-License-Identifier: MIT
/** Light or dark: the system's setting, or the reader's choice. */
import { createKept } from "./kept.js";
import { createStore, useStore } from "./store.js";

const choice = createKept("theme", ["system", "light", "dark"], "system");
const system = matchMedia("(prefers-color-scheme: dark)");
const resolve = () => (choice.get() === "system" ? (system.matches ? "dark" : "light") : choice.get());
const shown = createStore(resolve());

function apply() {
  const root = document.documentElement;
  if (choice.get() === "system") delete root.dataset.theme;
  else root.dataset.theme = choice.get();
  shown.set(resolve());
}

export function start() {
  apply();
  choice.subscribe(apply);
  system.addEventListener("change", apply);
}

/** @returns {["system" | "light" | "dark", (next: string) => void]} */
export const useTheme = () => [useStore(choice), choice.set];

/** "light" or "dark", as shown now; a canvas must be drawn again when it changes. */
export const useShownTheme = () => useStore(shown);

/** Colours of the style sheet, for a canvas: {"--up": "rgb(...)"}. */
export function colours(names) {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const found = {};
  for (const name of names) {
    probe.style.color = `var(${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
