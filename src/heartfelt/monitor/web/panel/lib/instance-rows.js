// SPDX-License-Identifier: MIT
/**
 * The instances of a table: the ids of all matches in order, and the rows of those in sight. Beats and changes
 * of state come from the stream. The rest of a row, which seldom changes, is loaded again from time to time; so is the
 * order, after something that may have changed it.
 */
import { get, queryText } from "./api.js";
import { useEffect, useReducer, useRef } from "./html.js";
import { useFresh, useLive } from "./live.js";

const MOST_ROWS = 5000; // kept in memory
const MOST_ASKED = 150; // per request
const ROW_AGE_MS = 5000;
const ORDER_AGE_MS = 2000;
const DRAW_MS = 250;

class Rows {
  /** @type {number[]} */
  ids = [];
  total = 0;
  /** The query that `ids` belongs to; "": nothing was loaded yet. */
  key = null;
  readMs = 0;
  error = null;
  #rows = new Map();
  #readMs = new Map();
  #params = {};
  #range = [0, 0];
  #stale = false;
  #orderMs = -Infinity;
  #tookMs = 0;
  #order = null;
  #reading = false;
  #drawing = 0;
  #timer = 0;

  constructor(redraw) {
    this.redraw = redraw;
  }

  start() {
    this.#timer = setInterval(() => this.#tick(), 1000);
  }

  close() {
    clearInterval(this.#timer);
    clearTimeout(this.#drawing);
    this.#order?.abort();
  }

  row = (id) => this.#rows.get(id);

  /** Loads the order for another filter or sort. */
  ask(params) {
    this.#params = params;
    this.#readOrder();
  }

  /** Loads everything again. */
  again = () => {
    this.#readMs.clear();
    this.#readOrder();
  };

  want = (first, last) => {
    this.#range = [first, last];
    this.#readRows();
  };

  change = (change) => {
    const row = this.#rows.get(change.id);
    if (change.new === "REMOVED") this.#rows.delete(change.id);
    else if (row) {
      const { reason, reason_code, reason_args } = change;
      this.#rows.set(change.id, { ...row, state: change.new, since_ms: change.time_ms, reason, reason_code, reason_args, held: false });
      this.#readMs.set(change.id, 0);
    }
    this.#stale = true;
    this.#drawSoon();
  };

  beats = (beats) => {
    for (const [id, lastBeatMs] of beats) {
      const row = this.#rows.get(id);
      if (row) row.last_beat_ms = lastBeatMs;
    }
    this.#drawSoon();
  };

  acks = (acks) => {
    for (const { id, ack } of acks) {
      const row = this.#rows.get(id);
      if (row) this.#rows.set(id, { ...row, ack });
    }
    this.#drawSoon();
  };

  #drawSoon() {
    this.#drawing ||= setTimeout(() => {
      this.#drawing = 0;
      this.redraw();
    }, DRAW_MS);
  }

  #tick() {
    if (document.hidden) return;
    const ageMs = performance.now() - this.#orderMs;
    if (this.#stale && ageMs > Math.max(ORDER_AGE_MS, 20 * this.#tookMs)) this.#readOrder();
    this.#readRows();
  }

  async #readOrder() {
    this.#order?.abort();
    const mine = (this.#order = new AbortController());
    const params = this.#params;
    const askedMs = performance.now();
    this.#stale = false;
    this.#orderMs = askedMs;
    try {
      const { ids, total } = await get("/api/v1/instances/order", params, {
        signal: AbortSignal.any([mine.signal, AbortSignal.timeout(30_000)]),
      });
      if (this.#order !== mine) return;
      Object.assign(this, { ids, total, key: queryText(params), readMs: Date.now(), error: null });
      this.#tookMs = performance.now() - askedMs;
      this.#readRows();
    } catch (error) {
      if (mine.signal.aborted) return;
      this.error = error;
      this.#stale = true;
    }
    this.redraw();
  }

  async #readRows() {
    if (this.#reading) return;
    const [first, last] = this.#range;
    const oldest = performance.now() - ROW_AGE_MS;
    const shown = this.ids.slice(first, last);
    const missing = shown.filter((id) => !this.#rows.has(id) && !(this.#readMs.get(id) > oldest));
    const asked = (missing.length ? missing : shown.filter((id) => (this.#readMs.get(id) ?? 0) < oldest)).slice(0, MOST_ASKED);
    if (!asked.length) return;
    this.#reading = true;
    try {
      const { instances } = await get("/api/v1/instances", { id: asked, ext: "true", limit: MOST_ASKED });
      const nowMs = performance.now();
      for (const id of asked) this.#readMs.set(id, nowMs);
      for (const one of instances) this.#rows.set(one.id, one);
      if (this.#rows.size > MOST_ROWS) this.#forget(new Set(shown));
      if (instances.length < asked.length) this.#stale = true; // some were removed meanwhile
      this.error = null;
    } catch (error) {
      this.error = error;
      return; // the next tick tries again
    } finally {
      this.#reading = false;
    }
    this.redraw();
    if (missing.length) this.#readRows();
  }

  #forget(shown) {
    for (const id of this.#rows.keys()) {
      if (this.#rows.size <= MOST_ROWS / 2) break;
      if (!shown.has(id)) {
        this.#rows.delete(id);
        this.#readMs.delete(id);
      }
    }
  }
}

/** @param {Record<string, any>} params of GET /api/v1/instances/order */
export function useInstanceRows(params) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const kept = useRef(null);
  kept.current ??= new Rows(redraw);
  const rows = kept.current;
  useEffect(() => {
    rows.start();
    return () => rows.close();
  }, []);
  const key = queryText(params);
  const first = useRef(true);
  useEffect(() => rows.ask(params), [key]);
  useFresh(() => {
    if (!first.current) rows.again(); // the first one is loaded already
    first.current = false;
  });
  useLive("change", rows.change);
  useLive("acks", rows.acks);
  useLive("beats", rows.beats);
  return rows;
}
