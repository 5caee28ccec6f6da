// SPDX-License-Identifier: MIT
/** Data that is not in the stream: loaded at the start, and again from time to time while the page is visible. */
import { useCallback, useEffect, useRef, useState } from "./html.js";

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} read
 * @param {number} everyMs 0: only when `reload` is called
 * @param {any[]} [inputs] when one changes, the data is dropped and loaded again
 * @returns {{data: T | null, error: Error | null, reload: () => Promise<void>}} `data` stays when a later read fails
 */
export function usePolled(read, everyMs, inputs = []) {
  const [seen, setSeen] = useState({ data: null, error: null });
  const newest = useRef(read);
  newest.current = read;
  const running = useRef(null);
  const reload = useCallback(async () => {
    running.current?.abort();
    const mine = new AbortController();
    running.current = mine;
    try {
      const data = await newest.current(mine.signal);
      if (running.current === mine) setSeen({ data, error: null });
    } catch (error) {
      if (running.current === mine) setSeen((old) => ({ data: old.data, error }));
    }
  }, []);
  useEffect(() => {
    setSeen({ data: null, error: null });
    reload();
    const timer = everyMs ? setInterval(() => document.hidden || reload(), everyMs) : 0;
    const look = () => document.hidden || reload();
    if (everyMs) document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      running.current?.abort();
      running.current = null;
    };
  }, [everyMs, ...inputs]);
  return { ...seen, reload };
}
