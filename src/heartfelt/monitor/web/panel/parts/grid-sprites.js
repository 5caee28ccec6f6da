// SPDX-License-Identifier: MIT
/** A picture of a cell for each state and brightness, drawn once; drawing a cell is then a copy of pixels. */
import { NAMES } from "../lib/fleet-cells.js";
import { HELD, STATES } from "../lib/state.js";
import { colours } from "../lib/theme.js";

export const LEVELS = 16;
const UP = NAMES.indexOf("UP");
/** Opacity at the end of the timeout. Instances in trouble remain clearly visible. */
const FAINTEST = { UP: 0.16, NEW: 0.16, LATE: 0.5, STUCK: 0.5 };
/** By number: the states, and a loss that is held. */
const LOOKS = [...NAMES.map((name) => ({ name, ...STATES[name] })), { name: "HELD", ...HELD }];
const GROUNDS = { FAILED: "--danger-ground", LOST: "--danger-ground", HELD: "--warning-ground" };
/** By the same number: whether the brightness shows the share of the timeout that is left. */
export const fades = LOOKS.map(({ name }) => name in FAINTEST);

/**
 * @param {number} pitch in canvas pixels
 * @returns {{pixels: Uint32Array, stride: number, ground: number}} looks are rows of pictures, levels columns
 */
export function makeSprites(pitch) {
  const found = colours([...new Set([...LOOKS.map(({ colour }) => colour), "--ground", ...Object.values(GROUNDS)])]);
  const canvas = document.createElement("canvas");
  canvas.width = pitch * LEVELS;
  canvas.height = pitch * LOOKS.length;
  const draw = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  draw.fillStyle = found["--ground"];
  draw.fillRect(0, 0, canvas.width, canvas.height);
  LOOKS.forEach(({ name, path, fill, colour }, row) => {
    const shape = new Path2D(path);
    const least = FAINTEST[name] ?? 1;
    for (let level = 0; level < LEVELS; level++) {
      draw.setTransform(1, 0, 0, 1, level * pitch, row * pitch);
      if (name in GROUNDS) {
        draw.fillStyle = found[GROUNDS[name]];
        draw.fillRect(0, 0, pitch, pitch);
      }
      draw.scale(pitch / 16, pitch / 16);
      draw.globalAlpha = least + ((1 - least) * level) / (LEVELS - 1);
      draw.fillStyle = draw.strokeStyle = found[colour];
      draw.lineWidth = Math.max(3, 16 / pitch);
      if (fill) draw.fill(shape);
      else draw.stroke(shape);
      draw.globalAlpha = 1;
    }
  });
  const { data } = draw.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint32Array(data.buffer);
  return { pixels, stride: canvas.width, ground: pixels[UP * pitch * canvas.width] }; // a dot leaves its corners free
}
