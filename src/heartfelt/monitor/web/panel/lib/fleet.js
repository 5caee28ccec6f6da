// SPDX-License-Identifier: MIT
/** Counts in total and per service, and the hold: loaded once, then kept up to date by the stream. */
import { get } from "./api.js";
import { onFresh, subscribe } from "./live.js";
import { readStats } from "./stats.js";
import { createStore, useStore } from "./store.js";

/**
 * {loaded, error, all, applications, services, hold}: all and each of services is {total, up, held, states}; services
 * an object by name; hold {state: "NONE" | "HOLDING" | "RELEASING", reason, reason_code, reason_args, scope, held, since_ms, until_ms}.
 */
export const fleet = createStore({
  loaded: false, error: null, all: null, applications: 0, services: {}, hold: null,
});
export const useFleet = (select) => useStore(fleet, select);

export async function load() {
  try {
    const [counts, hold] = await Promise.all([get("/api/v1/services"), get("/api/v1/hold"), readStats()]);
    fleet.set((old) => ({ ...old, ...counts, hold, loaded: true, error: null }));
  } catch (error) {
    fleet.set((old) => ({ ...old, error }));
  }
}

export function start() {
  onFresh(load);
  subscribe("counts", ({ all, applications, services }) =>
    fleet.set((old) => {
      const merged = { ...old.services };
      for (const [name, counts] of Object.entries(services)) {
        if (counts === null) delete merged[name];
        else merged[name] = counts;
      }
      return { ...old, all, applications, services: merged };
    }));
  subscribe("hold", (hold) => fleet.set((old) => ({ ...old, hold })));
}
