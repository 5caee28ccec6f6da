// SPDX-License-Identifier: MIT
/**
 * The event stream: one connection per page, read by fetch, since EventSource cannot send a token.
 *
 * After an interruption it continues where it was. If the monitor no longer knows that place it sends `resync`, and
 * everything must be loaded again: the functions given to `onFresh` run then, and once at the start.
 */
import { below } from "./base.js";
import { askForToken, headers, problemOf, token } from "./api.js";
import { createStore, useStore } from "./store.js";
import { useEffect } from "./html.js";

const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 15_000;
const SILENT_MS = 40_000; // the monitor sends at least a comment every 15 s
const TOPICS = ["change", "event", "hold", "held", "acks", "counts", "beats"];

/** @type {Map<string, Set<(data: any) => void>>} */
const followers = new Map(TOPICS.map((topic) => [topic, new Set()]));
const fresh = new Set();
let lastId = null;
let open = null; // {abort, topics} of the connection
let waitMs = FIRST_WAIT_MS;
let timer = 0;
let greeted = false; // the first welcome has arrived, or did not come in time

/** {state: "connecting" | "live" | "lost", sinceMs, detail} */
const connection = createStore({ state: "connecting", sinceMs: Date.now(), detail: "" });
export const status = () => connection.get();
export const useStatus = () => useStore(connection);

function tell(state, detail = "") {
  const old = connection.get();
  if (old.state !== state || old.detail !== detail) {
    connection.set({ state, detail, sinceMs: old.state === state ? old.sinceMs : Date.now() });
  }
}

/**
 * @param {"change" | "event" | "hold" | "held" | "acks" | "counts" | "beats"} topic
 * @param {(data: any) => void} fn
 * @returns {() => void} ends it
 */
export function subscribe(topic, fn) {
  followers.get(topic).add(fn);
  refit();
  return () => {
    followers.get(topic).delete(fn);
    refit();
  };
}

/** Runs `fn` when everything must be loaded: soon, and after each resync. Returns a function that unsubscribes. */
export function onFresh(fn) {
  fresh.add(fn);
  if (greeted) queueMicrotask(() => fresh.has(fn) && fn());
  return () => fresh.delete(fn);
}

/** `subscribe` for a component; the newest `fn` is called. */
export function useLive(topic, fn, inputs = []) {
  useEffect(() => subscribe(topic, fn), [topic, ...inputs]);
}

/** `onFresh` for a component: `load` runs at the start, when an input changes, and after each resync. */
export function useFresh(load, inputs = []) {
  useEffect(() => onFresh(load), inputs);
}

function call(all, data) {
  for (const fn of [...all]) {
    try {
      fn(data);
    } catch (error) {
      console.error(error); // an error in one subscriber must not end the stream for the others
    }
  }
}

function greet() {
  greeted = true;
  loadAgain();
}

/** Loads everything again, as after a resync. */
export const loadAgain = () => call(fresh);

const wanted = () => TOPICS.filter((topic) => followers.get(topic).size);
let refitting = 0;

/** Reconnects with just the topics that are wanted; once when several views change at the same time. */
function refit() {
  clearTimeout(refitting);
  refitting = setTimeout(() => {
    if (wanted().join() !== (open?.topics ?? "")) connect();
  }, 30);
}

export function start() {
  setTimeout(() => greeted || greet(), 1500); // views then show their errors
  addEventListener("online", () => connection.get().state === "lost" && connect());
  document.addEventListener("visibilitychange", () => !document.hidden && connection.get().state === "lost" && connect());
  connect();
}

/** Connects again at once. */
export function connect() {
  clearTimeout(timer);
  open?.abort.abort();
  const topics = wanted();
  if (!topics.length) {
    open = null;
    return;
  }
  const mine = { abort: new AbortController(), topics: topics.join() };
  open = mine;
  read(mine, topics).then(
    () => lose(mine, ""),
    (error) => lose(mine, error.detail ?? ""),
  );
}

function lose(mine, detail) {
  if (open !== mine) return; // another connection has replaced it
  open = { abort: mine.abort, topics: null };
  tell("lost", detail);
  timer = setTimeout(connect, waitMs * (0.5 + Math.random() / 2));
  waitMs = Math.min(waitMs * 2, MOST_WAIT_MS);
}

async function read(mine, topics) {
  const query = topics.map((topic) => `topic=${topic}`).join("&");
  const used = token();
  const more = lastId ? { "Last-Event-ID": lastId } : {};
  let silent = setTimeout(() => mine.abort.abort(), SILENT_MS);
  try {
    const answer = await fetch(below(`/api/v1/stream?${query}`), { headers: headers(more), signal: mine.abort.signal, cache: "no-store" });
    if (!answer.ok) {
      const error = await problemOf(answer);
      if (answer.status === 401 && token() === used && open === mine) {
        clearTimeout(silent);
        await askForToken(error.detail);
      }
      throw error;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || open !== mine) return;
      waitMs = FIRST_WAIT_MS;
      tell("live");
      clearTimeout(silent);
      silent = setTimeout(() => mine.abort.abort(), SILENT_MS);
      text += value;
      const end = text.lastIndexOf("\n\n");
      if (end < 0) continue;
      for (const block of text.slice(0, end).split("\n\n")) take(block);
      text = text.slice(end + 2);
    }
  } finally {
    clearTimeout(silent);
    mine.abort.abort(); // an abandoned reader must not keep the connection open
  }
}

/** One message: `id: ...\nevent: ...\ndata: ...`. */
function take(block) {
  let id = null;
  let topic = "";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("event: ")) topic = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (id) lastId = id;
  if (topic === "resync") greet();
  else if (followers.has(topic)) call(followers.get(topic), JSON.parse(data));
}
