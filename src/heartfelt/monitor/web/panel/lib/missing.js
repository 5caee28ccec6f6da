// SPDX-License-Identifier: MIT
/**
 * Answers of a fleet that are not whole, since a monitor did not answer. What was loaded then stays incomplete, so
 * everything is loaded again until all answers are whole, with growing pauses.
 */
import { missed } from "./api.js";
import { loadAgain } from "./live.js";
import { createStore } from "./store.js";

const FIRST_WAIT_MS = 4000;
const MOST_WAIT_MS = 60_000;
const WHOLE_MS = 5000; // a monitor waits at most 3 s for the others

/** Names of the monitors that did not answer, "" if all did. */
export const missing = createStore("");
let waitMs = FIRST_WAIT_MS;
let timer = 0;

export function start() {
  missed.subscribe(({ names }) => {
    missing.set(names);
    timer ||= setTimeout(again, waitMs);
  });
}

function again() {
  waitMs = Math.min(waitMs * 2, MOST_WAIT_MS);
  timer = 0;
  const whole = setTimeout(() => {
    ended();
    missing.set("");
    waitMs = FIRST_WAIT_MS;
  }, WHOLE_MS);
  const ended = missed.subscribe(() => {
    ended();
    clearTimeout(whole);
  });
  loadAgain();
}
