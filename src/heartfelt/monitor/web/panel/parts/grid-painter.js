// SPDX-License-Identifier: MIT
/**
 * Draws the fleet on a canvas as large as its visible part. In each frame the brightness of every cell is
 * computed, but only cells whose state or level has changed are drawn: a few hundred of 10,000. Cells are
 * copied into an image, and its changed blocks are put on the canvas: 2 ms for all of 10,000, where a
 * drawImage for each would take 50.
 */
import { now } from "../lib/clock.js";
import { createStore } from "../lib/store.js";
import { layout } from "./grid-layout.js";
import { LEVELS, fades, makeSprites } from "./grid-sprites.js";

const ARRANGE_MS = 400; // at most this often, however many come and go

export class GridPainter {
  /** @param {HTMLCanvasElement} canvas @param {import("../lib/fleet-cells.js").FleetCells} cells */
  constructor(canvas, cells) {
    this.canvas = canvas;
    this.cells = cells;
    this.draw = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.groups = [];
    this.sizes = [];
    this.grid = null;
    /** [block, number] of the cell under the pointer or with the focus, or null. */
    this.marked = createStore(null);
    this.room = { width: 0, height: 0, scale: 1 };
    this.scroll = 0;
    this.onArranged = () => {};
    this.slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  #version = -1;
  #arrangedMs = -Infinity;
  #drawn = new Uint8Array(0); // by slot: state and level on the canvas; 255: none
  #frame = 0;
  #paintedMs = -Infinity;
  #image = null;
  #pixels = null; // of the image

  start() {
    const step = (nowMs) => {
      this.#frame = requestAnimationFrame(step);
      if (this.slow && nowMs - this.#paintedMs < 1000) return;
      this.#paintedMs = nowMs;
      this.paint(nowMs);
    };
    this.#frame = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.#frame);
  }

  /** Sets the available room in CSS pixels; `height` is the visible part. */
  resize(width, height) {
    const scale = window.devicePixelRatio || 1;
    const old = this.room;
    if (old.width === width && old.height === height && old.scale === scale) return;
    this.room = { width, height, scale };
    this.#version = -1;
    this.#arrangedMs = -Infinity;
  }

  /** Draws again with new colours. */
  recolour() {
    this.sprites = null;
    this.repaint();
  }

  repaint() {
    this.#drawn.fill(255);
    this.wipe = true;
  }

  scrollTo(top) {
    const scroll = Math.round(top * this.room.scale);
    if (scroll === this.scroll) return;
    this.scroll = scroll;
    this.repaint();
  }

  #arrange(nowMs) {
    if (!this.cells.loaded || !this.room.width) return false;
    if (this.#version === this.cells.version) return Boolean(this.grid);
    if (nowMs - this.#arrangedMs < Math.max(ARRANGE_MS, this.cells.size / 50)) return Boolean(this.grid);
    const keep = this.marked.get() && this.slotOf(this.marked.get());
    this.#version = this.cells.version;
    this.#arrangedMs = nowMs;
    const old = { grid: this.grid, groups: this.groups, sizes: this.sizes };
    this.groups = this.cells.grouped();
    this.sizes = this.groups.map(({ slots }) => slots.length);
    this.grid = layout(this.sizes, this.room);
    if (old.grid?.pitch !== this.grid.pitch) this.sprites = null;
    this.#fitCanvas();
    if (this.#drawn.length !== this.cells.ids.length) this.#drawn = new Uint8Array(this.cells.ids.length).fill(255);
    if (this.wipe || !this.sprites || !isSame(old, this)) this.repaint();
    else this.#repaintChanged(old.sizes);
    for (const group of this.groups) group.changed = false;
    this.marked.set(keep === null ? null : this.placeOf(keep));
    this.onArranged();
    return true;
  }

  #fitCanvas() {
    const { width, scale, height } = this.room;
    const wide = Math.floor(width * scale);
    const high = Math.ceil(Math.min(this.grid.height, height * scale));
    if (this.#image && this.canvas.width === wide && this.canvas.height === high) return;
    this.canvas.width = wide; // this clears it
    this.canvas.height = high;
    this.canvas.style.width = `${wide / scale}px`;
    this.canvas.style.height = `${high / scale}px`;
    this.#image = this.draw.createImageData(Math.max(1, wide), Math.max(1, high));
    this.#pixels = new Uint32Array(this.#image.data.buffer);
    this.repaint();
  }

  /** Keeps all cells in place but those in blocks that have changed. */
  #repaintChanged(oldSizes) {
    const { pitch, blocks } = this.grid;
    this.groups.forEach(({ slots, changed }, i) => {
      if (!changed) return;
      const { x, y, columns } = blocks[i];
      const kept = Math.floor(slots.length / columns); // rows that stay full
      const rows = Math.ceil(Math.max(slots.length, oldSizes[i]) / columns);
      this.#empty(x, y - this.scroll + kept * pitch, columns * pitch, (rows - kept) * pitch);
      for (const slot of slots) this.#drawn[slot] = 255;
    });
  }

  #empty(x, y, width, height) {
    const wide = this.#image.width;
    const last = Math.min(this.#image.height, y + height);
    if (last <= Math.max(0, y)) return;
    for (let row = Math.max(0, y); row < last; row++) {
      this.#pixels.fill(this.sprites.ground, row * wide + x, row * wide + x + width);
    }
    this.#show(x, y, width, height);
  }

  #show(x, y, width, height) {
    this.draw.putImageData(this.#image, 0, 0, x, y, width, height);
  }

  slotOf([block, number]) {
    return this.groups[block]?.slots[number] ?? null;
  }

  placeOf(slot) {
    for (let block = 0; block < this.groups.length; block++) {
      const number = this.groups[block].slots.indexOf(slot);
      if (number >= 0) return [block, number];
    }
    return null;
  }

  paint(nowMs) {
    if (!this.#arrange(nowMs)) return;
    const { pitch, blocks } = this.grid;
    this.sprites ??= makeSprites(pitch);
    const { scroll } = this;
    const { wipe } = this;
    if (wipe) this.#pixels.fill(this.sprites.ground);
    this.wipe = false;
    const drawn = this.#drawn;
    const { state, lastMs, leaseMs } = this.cells;
    const wallMs = now();
    const bottom = scroll + this.canvas.height;
    for (let i = 0; i < blocks.length; i++) {
      const { x, y, columns } = blocks[i];
      if (y > bottom) continue;
      const { slots } = this.groups[i];
      const first = Math.max(0, Math.floor((scroll - y) / pitch)) * columns;
      const last = Math.min(slots.length, Math.ceil((bottom - y) / pitch) * columns);
      let upper = Infinity;
      let lower = -Infinity;
      for (let n = first; n < last; n++) {
        const slot = slots[n];
        const which = state[slot];
        let level = LEVELS - 1;
        if (fades[which]) {
          const left = 1 - (wallMs - lastMs[slot]) / leaseMs[slot];
          level = left >= 1 ? level : left > 0 ? Math.floor(left * LEVELS) : 0;
        }
        const look = which * LEVELS + level;
        if (drawn[slot] === look) continue;
        drawn[slot] = look;
        const top = y + Math.floor(n / columns) * pitch - scroll;
        this.#copy(which, level, x + (n % columns) * pitch, top);
        if (top < upper) upper = top;
        if (top > lower) lower = top;
      }
      if (!wipe && lower >= upper) this.#show(x, upper, columns * pitch, lower + pitch - upper);
    }
    if (wipe) this.#show(0, 0, this.#image.width, this.#image.height);
  }

  #copy(which, level, x, y) {
    const { pixels: from, stride } = this.sprites;
    const { pitch } = this.grid;
    const to = this.#pixels;
    const wide = this.#image.width;
    const first = Math.max(0, -y);
    const last = Math.min(pitch, this.#image.height - y);
    for (let row = first; row < last; row++) {
      const source = (which * pitch + row) * stride + level * pitch;
      const target = (y + row) * wide + x;
      for (let column = 0; column < pitch; column++) to[target + column] = from[source + column];
    }
  }
}

/** Returns whether each service's block has kept its place. */
function isSame(old, { grid, groups }) {
  return (
    old.grid?.pitch === grid.pitch && old.grid.height === grid.height && old.groups.length === groups.length &&
    groups.every((group, i) => {
      const [was, is] = [old.grid.blocks[i], grid.blocks[i]];
      return group === old.groups[i] && was.x === is.x && was.y === is.y && was.columns === is.columns;
    })
  );
}
