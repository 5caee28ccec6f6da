// SPDX-License-Identifier: MIT
/** An observable value that components can subscribe to. */
import { useEffect, useReducer, useRef } from "./html.js";

/**
 * @template T
 * @param {T} value
 */
export function createStore(value) {
  const followers = new Set();
  return {
    /** @returns {T} */
    get: () => value,
    /** @param {T | ((old: T) => T)} next */
    set(next) {
      const made = typeof next === "function" ? next(value) : next;
      if (Object.is(made, value)) return;
      value = made;
      for (const follower of [...followers]) follower(value);
    },
    /** @param {(value: T) => void} follower @returns {() => void} ends it */
    subscribe(follower) {
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
}

/** The store's value, or the part that `select` returns; the component is rendered again when it changes. */
export function useStore(store, select = (value) => value) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const newest = useRef(select);
  newest.current = select;
  const seen = select(store.get());
  useEffect(() => {
    let last = seen;
    const look = () => {
      const now = newest.current(store.get());
      if (!Object.is(now, last)) {
        last = now;
        redraw();
      }
    };
    look();
    return store.subscribe(look);
  }, [store]);
  return seen;
}
