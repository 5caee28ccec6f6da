// SPDX-License-Identifier: MIT
/** A state as a shape with its text (`word: false`: the text only for screen readers and as a tooltip). */
import { html } from "../lib/html.js";
import { HELD, STATES, stateMeaning, stateWord } from "../lib/state.js";

export function StateShape({ state, held = false }) {
  const { path, fill } = held ? HELD : STATES[state];
  return html`<svg class="shape" data-state=${state} viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
    <path d=${path} class=${fill ? "filled" : "line"} />
  </svg>`;
}

export function StateMark({ state, held = false, word = true }) {
  return html`<span class="state" title=${stateMeaning(state)}>
    <${StateShape} state=${state} held=${held} /><span class=${word ? "" : "only-read"}>${stateWord(state, held)}</span>
  </span>`;
}
