// SPDX-License-Identifier: MIT
/**
 * What the monitor says about itself: figures, the monitors of its fleet, the state of Redis. Read every few seconds while
 * the page is visible, if a view follows it, or the monitor is one of a fleet.
 */
import { get } from "./api.js";
import { learn } from "./clock.js";
import { createStore, useStore } from "./store.js";
import { useEffect } from "./html.js";

const EVERY_MS = 5000;

/** The last answer, or null. */
export const stats = createStore(null);
/** Monitors that have left the fleet while this page was open, as {id, host, address, sinceMs}, until somebody closes that. */
export const gone = createStore([]);
let followers = 0;

/** Reads it now; learns the monitor's clock on the way. */
export async function readStats() {
  const askedMs = Date.now();
  const next = await get("/api/v1/stats");
  learn(next.now_ms, askedMs, Date.now());
  noteGone(stats.get()?.monitors ?? [], next.monitors);
  stats.set(next);
  return next;
}

/** A monitor that has started again has a new id, and mostly its old address. */
function noteGone(before, living) {
  const is = (one) => living.some(({ id }) => id === one.id);
  const isBack = (one) => living.some(({ address }) => address === one.address);
  const left = before.filter((one) => !is(one)).map((one) => ({ ...one, sinceMs: Date.now() }));
  gone.set((old) => {
    const next = [...old, ...left].filter((one) => !is(one) && !isBack(one));
    return next.length || old.length ? next : old;
  });
}

/** The store's value for a component that wants it to be new. */
export function useStats() {
  useEffect(() => {
    followers += 1;
    readStats().catch(() => {}); // a banner says that the connection is lost
    return () => {
      followers -= 1;
    };
  }, []);
  return useStore(stats);
}

export function start() {
  setInterval(() => {
    if (!document.hidden && (followers || stats.get()?.monitors.length)) readStats().catch(() => {});
  }, EVERY_MS);
}
