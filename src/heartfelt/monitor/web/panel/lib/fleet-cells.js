// SPDX-License-Identifier: MIT
/**
 * Every instance in brief, in flat arrays: loaded once, then kept up to date by the stream. 100,000 take 3 MB, and
 * a beat takes two stores. A slot is an instance's place in the arrays; it does not move while the instance exists.
 */
import { get } from "./api.js";
import { now } from "./clock.js";
import { onFresh, subscribe } from "./live.js";
import { STATES } from "./state.js";

export const NAMES = Object.keys(STATES);
const NUMBERS = Object.fromEntries(NAMES.map((name, number) => [name, number]));
const { LATE, REMOVED } = NUMBERS;
/** Replaces LATE in `state` while the loss is held, so that drawing needs no second look-up. */
const HELD = NAMES.length;
const LEASE_MS = 60_000; // until the instance's own is known
const CATCH_UP_MS = 1000;

export class FleetCells {
  constructor() {
    this.error = null;
    this.loaded = false;
    /** Grows when instances come or go, which changes the layout. */
    this.version = 0;
    this.#empty(1024);
  }

  #empty(room) {
    this.count = 0; // slots in use, including free ones between them
    this.ids = new Float64Array(room);
    this.lastMs = new Float64Array(room);
    this.leaseMs = new Float64Array(room);
    this.state = new Uint8Array(room);
    this.service = new Uint32Array(room);
    /** {name, slots by id, changed: whether an instance came or went since the last `grouped`} */
    this.services = [];
    this.#places = new Map();
    this.#slots = new Map();
    this.#free = [];
    this.#gone = [];
    this.#sorted = null;
    this.#newest = 0;
  }

  #places; // service's name -> place in `services`
  #slots; // id -> slot
  #free;
  #gone; // freed slots that are still in a service's list
  #sorted;
  #newest; // the greatest id that was loaded
  #waiting = null; // what arrived while everything was being loaded
  #timer = 0;
  #ends = [];
  #followers = new Set();

  /** Starts following; `tell` runs after each load, successful or not. */
  start(tell) {
    this.#followers.add(tell);
    this.#ends = [
      onFresh(() => this.load()),
      subscribe("change", this.#inTurn((change) => this.#change(change))),
      subscribe("held", this.#inTurn((ids) => this.#hold(ids))),
      subscribe("beats", (beats) => this.#beats(beats)),
    ];
  }

  stop() {
    for (const end of this.#ends) end();
    clearTimeout(this.#timer);
    this.#followers.clear();
  }

  /** Like `take`, but after a load in progress. */
  #inTurn = (take) => (data) => (this.#waiting ? this.#waiting.push(() => take(data)) : take(data));

  async load() {
    if (this.#waiting) return; // a load is in progress
    this.#waiting = [];
    try {
      const fleet = await get("/api/v1/fleet");
      this.#empty(Math.max(1024, Math.ceil(fleet.rows.length * 1.25)));
      this.#take(fleet);
      this.loaded = true;
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    const waiting = this.#waiting;
    this.#waiting = null;
    for (const take of waiting) take();
    for (const tell of this.#followers) tell();
  }

  /** Loads instances that joined, since changes do not contain their timeouts. */
  async #catchUp() {
    this.#timer = 0;
    try {
      this.#take(await get("/api/v1/fleet", { after: this.#newest }));
    } catch (error) {
      console.warn(error); // their timeouts are taken to be one minute until the next load
    }
  }

  #take({ states, services, rows, held }) {
    const stateOf = states.map((name) => NUMBERS[name]);
    const placeOf = services.map((name) => this.#place(name));
    for (const [id, service, state, lastMs, leaseMs] of rows) {
      let slot = this.#slots.get(id);
      if (slot === undefined) slot = this.#add(id, placeOf[service]);
      this.state[slot] = stateOf[state];
      this.lastMs[slot] = Math.max(lastMs, this.lastMs[slot]);
      this.leaseMs[slot] = leaseMs;
      if (id > this.#newest) this.#newest = id;
    }
    this.#hold(held);
  }

  /** Marks losses that are held from now on, until the instance's next change. */
  #hold(ids) {
    for (const id of ids) {
      const slot = this.#slots.get(id);
      if (slot !== undefined && this.state[slot] === LATE) this.state[slot] = HELD;
    }
  }

  #place(name) {
    let place = this.#places.get(name);
    if (place === undefined) {
      place = this.services.push({ name, slots: [], changed: true }) - 1;
      this.#places.set(name, place);
      this.#sorted = null;
    }
    return place;
  }

  #add(id, service) {
    const slot = this.#free.pop() ?? this.count++;
    if (slot >= this.ids.length) this.#grow();
    this.ids[slot] = id;
    this.service[slot] = service;
    this.lastMs[slot] = 0;
    this.leaseMs[slot] = LEASE_MS;
    this.#slots.set(id, slot);
    const group = this.services[service];
    group.slots.push(slot); // ids grow, so they are in order except in the rarest case
    group.changed = true;
    this.version++;
    return slot;
  }

  #grow() {
    for (const name of ["ids", "lastMs", "leaseMs", "state", "service"]) {
      const old = this[name];
      this[name] = new old.constructor(old.length * 2);
      this[name].set(old);
    }
  }

  #change({ id, service, new: state, old, time_ms: timeMs }) {
    let slot = this.#slots.get(id);
    if (state === "REMOVED") {
      if (slot === undefined) return;
      this.#slots.delete(id);
      this.#gone.push(slot);
      this.state[slot] = REMOVED;
      this.services[this.service[slot]].changed = true;
      this.version++;
      return;
    }
    if (slot === undefined) {
      slot = this.#add(id, this.#place(service));
      this.#timer ||= setTimeout(() => this.#catchUp(), CATCH_UP_MS);
    }
    this.state[slot] = NUMBERS[state];
    if (old === null || (state === "UP" && this.lastMs[slot] < timeMs)) this.lastMs[slot] = timeMs;
  }

  #beats(beats) {
    for (const [id, lastMs] of beats) {
      const slot = this.#slots.get(id);
      if (slot !== undefined) this.lastMs[slot] = lastMs;
    }
  }

  /** The number of instances. */
  get size() {
    return this.#slots.size;
  }

  stateOf(slot) {
    return NAMES[this.isHeld(slot) ? LATE : this.state[slot]];
  }

  isHeld(slot) {
    return this.state[slot] === HELD;
  }

  /** The share of the timeout that is left, 0 to 1. */
  left(slot, nowMs = now()) {
    return Math.min(1, Math.max(0, 1 - (nowMs - this.lastMs[slot]) / this.leaseMs[slot]));
  }

  /**
   * The services that have instances, by name: [{name, slots, changed}, ...]. O(n) in those that have changed. Whoever
   * draws them takes `changed` back.
   */
  grouped() {
    const { ids, state } = this;
    for (const group of this.services) {
      if (!group.changed) continue;
      group.slots = group.slots.filter((slot) => state[slot] !== REMOVED);
      const inOrder = group.slots.every((slot, i, all) => !i || ids[all[i - 1]] < ids[slot]);
      if (!inOrder) group.slots.sort((a, b) => ids[a] - ids[b]);
    }
    this.#free.push(...this.#gone.splice(0));
    this.#sorted ??= this.services.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return this.#sorted.filter(({ slots }) => slots.length);
  }
}
