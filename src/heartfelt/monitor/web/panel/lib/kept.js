// SPDX-License-Identifier: MIT
/** A choice that this browser remembers; without storage it lasts as long as the page. */
import { createStore } from "./store.js";

export function createKept(name, known, otherwise) {
  const key = `heartfelt.${name}`;
  let found = null;
  try {
    found = localStorage.getItem(key);
  } catch {
    // storage is disabled, so nothing was kept
  }
  const store = createStore(known.includes(found) ? found : otherwise);
  store.subscribe((value) => {
    try {
      localStorage.setItem(key, value);
    } catch {
      // storage is disabled, so nothing is kept
    }
  });
  return store;
}
