// SPDX-License-Identifier: MIT
/** Routes by real paths. The query holds the state of a view, so that its address can be shared. */
import { below, own } from "./base.js";
import { createStore, useStore } from "./store.js";

/** The view of each path: the name of its module under views/, and of its file of texts. */
export const ROUTES = [
  ["/", "overview"],
  ["/instances", "instances"],
  ["/instances/:id", "instance"],
  ["/services", "services"],
  ["/events", "events"],
  ["/webhooks", "webhooks"],
  ["/tokens", "tokens"],
  ["/settings", "settings"],
];

const read = () => ({ path: own(location.pathname), search: location.search });
const place = createStore(read());

export function start() {
  addEventListener("popstate", () => place.set(read()));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target || link.hasAttribute("download") || link.origin !== location.origin || !match(own(link.pathname))) return;
    if (link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    navigate(own(link.pathname) + link.search);
  });
}

/** @returns {{view: string, values: Record<string, string>} | null} */
export function match(path) {
  const parts = path.split("/");
  for (const [pattern, view] of ROUTES) {
    const wanted = pattern.split("/");
    if (wanted.length !== parts.length) continue;
    const values = {};
    const fits = wanted.every((part, i) => {
      if (!part.startsWith(":")) return part === parts[i];
      values[part.slice(1)] = parts[i];
      return /^\d+$/.test(parts[i]);
    });
    if (fits) return { view, values };
  }
  return null;
}

/** @param {string} to path and query, below the base @param {{replace?: boolean}} [options] */
export function navigate(to, { replace = false } = {}) {
  const before = place.get();
  history[replace ? "replaceState" : "pushState"](null, "", below(to));
  place.set(read());
  if (!replace && place.get().path !== before.path) scrollTo(0, 0);
}

export function useRoute() {
  const { path } = useStore(place);
  return { path, ...(match(path) ?? { view: null, values: {} }) };
}

/**
 * The query as the view's state.
 * @returns {[URLSearchParams, (next: Record<string, string | string[] | null>, options?: {replace?: boolean}) => void]}
 * The setter changes the given names and keeps the others; null, "" and [] remove a name. Replaces the address unless
 * `{replace: false}` is given, which adds an entry for the back button.
 */
export function useQuery() {
  const { search } = useStore(place);
  return [new URLSearchParams(search), setQuery];
}

export function setQuery(next, { replace = true } = {}) {
  const params = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(next)) {
    params.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, String(one));
    }
  }
  const text = params.toString();
  if (text !== location.search.slice(1)) navigate(own(location.pathname) + (text && `?${text}`), { replace });
}
