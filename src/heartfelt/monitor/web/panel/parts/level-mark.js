// SPDX-License-Identifier: MIT
/** A level as a shape, a colour and a text; never a colour alone. */
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";

export const LEVELS = ["EMERGENCY", "IMPORTANT", "NORMAL"];
const SHAPES = {
  EMERGENCY: "M5 1H11L15 5V11L11 15H5L1 11V5Z",
  IMPORTANT: "M8 2L15 14H1Z",
  NORMAL: "M8 3.5A4.5 4.5 0 1 0 8 12.5A4.5 4.5 0 1 0 8 3.5Z",
};

export const levelWord = (level) => t(`events.level_${level}`);

export function LevelMark({ level, word = true }) {
  return html`<span class="level" data-level=${level} title=${levelWord(level)}>
    <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true"><path d=${SHAPES[level]} class="filled" /></svg>
    <span class=${word ? "level-word" : "only-read"}>${levelWord(level)}</span>
  </span>`;
}
