// SPDX-License-Identifier: MIT
/** Events that match a filter, newest first, with counts by level. Newer ones are loaded when something has happened. */
import { get } from "./api.js";
import { useEffect, useRef, useState } from "./html.js";
import { useFresh, useLive } from "./live.js";

const PAGE = 100;
const MOST = 3000; // in the page at once
const READ_MS = 2000;
const STORED_MS = 700; // how long after its announcement an event can be loaded

const EMPTY = { events: [], before: null, counts: null, loaded: false, error: null, isStale: false };

/** The time by which the monitor orders an event: its sender's, or that of its receipt if the sender's clock is ahead. */
const at = (one) => Math.min(one.time_ms, one.received_ms ?? one.time_ms);
const newestFirst = (one, other) => at(other) - at(one) || other.number - one.number;

/**
 * @param {() => Record<string, any>} asked returns the current parameters (a range that ends now moves on)
 * @param {string} key changes when the filter does
 * @param {boolean} isFollowing whether newer events appear by themselves; they never do while the reader is not at the top
 */
export function useEvents(asked, key, isFollowing) {
  const [shown, setShown] = useState(EMPTY);
  const now = useRef({});
  Object.assign(now.current, { asked, isFollowing, events: shown.events, before: shown.before });
  const state = useRef({ turn: 0, readMs: 0, toldMs: 0, reading: false, isLate: false });

  const read = async ({ merge }) => {
    const mine = state.current;
    if (merge && mine.reading) return;
    const turn = merge ? mine.turn : ++mine.turn;
    const isAlone = !merge || mine.isLate;
    mine.isLate = false;
    mine.reading = true;
    mine.readMs = performance.now();
    try {
      const params = now.current.asked();
      const [page, counts] = await Promise.all([
        get("/api/v1/events", { ...params, limit: PAGE }),
        get("/api/v1/events/counts", { ...params, level: null }),
      ]);
      if (turn !== mine.turn) return;
      setShown((old) => ({ ...joined(isAlone ? EMPTY : old, page), counts, loaded: true, error: null, isStale: false }));
    } catch (error) {
      if (turn === mine.turn) setShown((old) => ({ ...old, error, loaded: true }));
    } finally {
      mine.reading = false;
    }
  };
  const older = async () => {
    const turn = state.current.turn;
    try {
      const { before } = now.current;
      const page = await get("/api/v1/events", { ...now.current.asked(), limit: PAGE, before });
      if (turn !== state.current.turn) return;
      setShown((old) =>
        old.before === before ? { ...old, events: [...old.events, ...page.events].slice(0, MOST), before: page.before, error: null } : old,
      );
    } catch (error) {
      setShown((old) => ({ ...old, error }));
    }
  };
  const tell = (event) => {
    state.current.toldMs = performance.now();
    const last = now.current.events[PAGE - 1];
    if (last && at(event) <= at(last)) state.current.isLate = true; // the newest page will not have it
  };
  useFresh(() => read({ merge: false }), [key]);
  useLive("event", tell);
  useLive("change", tell);
  useEffect(() => {
    const tick = () => {
      const { readMs, toldMs } = state.current;
      const nowMs = performance.now();
      if (document.hidden || readMs > toldMs + STORED_MS || nowMs < readMs + READ_MS) return;
      if (now.current.isFollowing && scrollY < 120) read({ merge: true });
      else setShown((old) => (old.isStale || !old.loaded ? old : { ...old, isStale: true }));
    };
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, []);
  const isFull = shown.events.length >= MOST;
  return { ...shown, isFull, isEnd: shown.before === null, older, newer: () => read({ merge: true }), again: () => read({ merge: false }) };
}

/** Puts the newest page among the shown events; if there is a gap in between, shows that page alone. */
function joined(old, page) {
  const known = new Set(old.events.map((one) => one.number));
  const fresh = page.events.filter((one) => !known.has(one.number));
  if (!known.size || (fresh.length === page.events.length && page.before !== null)) return { events: page.events, before: page.before };
  return { events: [...fresh, ...old.events].sort(newestFirst).slice(0, MOST), before: old.before };
}
