// SPDX-License-Identifier: MIT
/**
 * Computes the place of each instance's cell. Services are blocks on a grid of columns; a block is as many columns wide as its
 * number of cells needs. All in canvas pixels. Pure: no page, no time.
 */
const PITCHES = [16, 14, 12, 10, 9, 8, 7, 6, 5, 4];
const LABEL = 20;
const GAP = 16;
const BELOW = 10;
const COLUMN = 184;
const SHAPE = 4; // a block is about this many times wider than high

/**
 * @param {number[]} sizes cells of each block
 * @param {{width: number, height: number, scale: number}} room in CSS pixels; scale: canvas pixels in one of them
 * @returns {{pitch: number, height: number, blocks: {x: number, y: number, columns: number, width: number}[]}} the largest cells
 * with which everything fits without scrolling, or the smallest ones
 */
export function layout(sizes, { width, height, scale }) {
  let found = null;
  for (const pitch of PITCHES) {
    found = arrange(sizes, Math.round(pitch * scale), Math.floor(width * scale), scale);
    if (found.height <= height * scale) break;
  }
  return found;
}

function arrange(sizes, pitch, width, scale) {
  const gap = Math.round(GAP * scale);
  const label = Math.round(LABEL * scale);
  const below = Math.round(BELOW * scale);
  const columns = Math.max(1, Math.floor((width + gap) / (COLUMN * scale + gap)));
  const column = Math.floor((width + gap) / columns) - gap;
  const blocks = [];
  let used = 0; // columns of this shelf
  let top = 0;
  let shelf = 0; // the shelf's height
  for (const size of sizes) {
    const wanted = Math.ceil(Math.sqrt(size * SHAPE)) * pitch;
    const span = Math.min(columns, Math.max(1, Math.ceil((wanted + gap) / (column + gap))));
    if (used + span > columns) {
      top += shelf + below;
      used = shelf = 0;
    }
    const wide = span * (column + gap) - gap;
    const across = Math.max(1, Math.floor(wide / pitch));
    blocks.push({ x: used * (column + gap), y: top + label, columns: across, width: wide });
    shelf = Math.max(shelf, label + Math.ceil(size / across) * pitch);
    used += span;
  }
  return { pitch, label, height: top + shelf, blocks };
}

/** Returns the cell at a point: [block, number in it], or null. */
export function cellAt({ blocks, pitch }, sizes, x, y) {
  for (let i = 0; i < blocks.length; i++) {
    const { x: left, y: top, columns } = blocks[i];
    if (x < left || y < top) continue;
    const column = Math.floor((x - left) / pitch);
    const number = Math.floor((y - top) / pitch) * columns + column;
    if (column < columns && number < sizes[i]) return [i, number];
  }
  return null;
}

/** Returns a cell's upper left corner. */
export function cornerOf({ blocks, pitch }, block, number) {
  const { x, y, columns } = blocks[block];
  return [x + (number % columns) * pitch, y + Math.floor(number / columns) * pitch];
}

/** Returns the nearest cell one line above (-1) or below (1); null at the edge. */
export function cellBeside(grid, sizes, block, number, direction) {
  const { pitch, blocks } = grid;
  const [x, y] = cornerOf(grid, block, number);
  let best = null;
  let least = Infinity;
  for (let i = 0; i < blocks.length; i++) {
    const { x: left, y: top, columns } = blocks[i];
    const rows = Math.ceil(sizes[i] / columns);
    const row = direction > 0 ? Math.max(0, Math.floor((y - top) / pitch) + 1) : Math.min(rows - 1, Math.ceil((y - top) / pitch) - 1);
    if (row < 0 || row >= rows) continue;
    const inRow = Math.min(columns, sizes[i] - row * columns);
    const column = Math.min(inRow - 1, Math.max(0, Math.round((x - left) / pitch)));
    const distance = Math.abs(top + row * pitch - y) * 4 + Math.abs(left + column * pitch - x);
    if (distance < least) [best, least] = [[i, row * columns + column], distance];
  }
  return best;
}
