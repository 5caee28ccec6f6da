// SPDX-License-Identifier: MIT
/**
 * The states of an instance as shown everywhere: a letter, a shape, a colour and a text; never a colour alone.
 * Shapes are SVG paths in a box of 16 by 16, for <svg> and for Path2D. `fill`: whether they are filled or drawn as a
 * line of width 2. The colours can be told apart by people with red-green colour blindness; the shapes by everybody.
 */
import { t } from "./i18n.js";

/** Worst first, as WORST_FIRST of the monitor: every list of states is in this order. */
export const STATES = {
  FAILED: { letter: "F", colour: "--failed", fill: true, path: "M1 1H15V15H1ZM6.75 3.5V9H9.25V3.5ZM6.75 10.5V12.75H9.25V10.5Z" },
  LOST: { letter: "X", colour: "--lost", fill: false, path: "M3 3L13 13M13 3L3 13" },
  STUCK: { letter: "S", colour: "--stuck", fill: true, path: "M2 2H14L8 8L14 14H2L8 8Z" },
  LATE: { letter: "L", colour: "--late", fill: true, path: "M8 2L15 14H1Z" },
  NEW: { letter: "N", colour: "--new", fill: false, path: "M8 2.5A5.5 5.5 0 1 0 8 13.5A5.5 5.5 0 1 0 8 2.5Z" },
  UP: { letter: "U", colour: "--up", fill: true, path: "M8 2A6 6 0 1 0 8 14A6 6 0 1 0 8 2Z" },
  PAUSED: { letter: "P", colour: "--paused", fill: true, path: "M3 2H6.5V14H3ZM9.5 2H13V14H9.5Z" },
  LEFT: { letter: "G", colour: "--left", fill: false, path: "M3 8H12M8 4L12 8L8 12" },
  REMOVED: { letter: "R", colour: "--removed", fill: false, path: "M4 8H12" },
};

/** How LATE is shown while the loss is held: framed, since the colour is that of LATE. */
export const HELD = { ...STATES.LATE, letter: "H", path: "M1 1H15V15H1ZM3 3V13H13V3ZM8 4.5L12 12H4Z" };

/** REMOVED occurs in changes only. */
export const STATE_NAMES = Object.keys(STATES).filter((name) => name !== "REMOVED");

/** States that count as down, as DOWN of the monitor. */
export const DOWN = ["FAILED", "LOST", "STUCK"];

export const stateWord = (state, held = false) => t(`states.${state}`) + (held ? ` (${t("states.held")})` : "");
export const stateMeaning = (state) => t(`states.${state}_means`);
