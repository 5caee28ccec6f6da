// SPDX-License-Identifier: MIT
/** The fleet grid: one cell per instance, by service. Handles pointer, keyboard and screen reader texts. */
import { html, useEffect, useMemo, useReducer, useRef, useState } from "../lib/html.js";
import { FleetCells } from "../lib/fleet-cells.js";
import { t } from "../lib/i18n.js";
import { navigate } from "../lib/router.js";
import { stateWord } from "../lib/state.js";
import { useShownTheme } from "../lib/theme.js";
import { number, percent } from "../lib/format.js";
import { Empty, Failure, Loading } from "./notes.js";
import { cellAt, cellBeside, cornerOf } from "./grid-layout.js";
import { GridPainter } from "./grid-painter.js";
import { GridLabels } from "./grid-labels.js";
import { GridMark, GridTip } from "./grid-tip.js";

const LEAST = 260;

/** Returns how high it may be without pushing the rest out of sight. */
const roomBelow = () => {
  if (innerWidth < 640) return Math.round(innerHeight * 1.5); // fingers need larger cells
  return Math.max(LEAST, Math.min(innerHeight - 120, Math.round(innerHeight * 0.72)));
};

export function FleetGrid() {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const cells = useMemo(() => new FleetCells(), []);
  useEffect(() => {
    cells.start(redraw);
    return () => cells.stop();
  }, []);
  if (cells.error && !cells.loaded) return html`<${Failure} error=${cells.error} retry=${() => cells.load()} />`;
  if (!cells.loaded) return html`<${Loading} />`;
  return html`<${Grid} cells=${cells} />`;
}

function Grid({ cells }) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const [spoken, setSpoken] = useState("");
  const frame = useRef(null);
  const canvas = useRef(null);
  const painter = useRef(null);
  const theme = useShownTheme();

  useEffect(() => {
    const made = (painter.current = new GridPainter(canvas.current, cells));
    const element = frame.current;
    made.onArranged = redraw;
    const fit = () => made.resize(element.clientWidth, roomBelow());
    const watcher = new ResizeObserver(fit);
    watcher.observe(element);
    addEventListener("resize", fit);
    fit();
    made.start();
    return () => {
      made.stop();
      watcher.disconnect();
      removeEventListener("resize", fit);
    };
  }, []);
  useEffect(() => painter.current.recolour(), [theme]);

  const at = (event) => {
    const { grid, sizes, room, scroll } = painter.current;
    const box = canvas.current.getBoundingClientRect();
    const { scale } = room;
    return grid && cellAt(grid, sizes, (event.clientX - box.left) * scale, (event.clientY - box.top) * scale + scroll);
  };
  const mark = (place, aloud = false) => {
    const here = painter.current;
    if (String(place) === String(here.marked.get())) return;
    here.marked.set(place);
    if (aloud && place) {
      show(here, frame.current, place);
      setSpoken(describe(cells, here, place));
    }
  };
  const open = (place) => place && navigate(`/instances/${cells.ids[painter.current.slotOf(place)]}`);
  const keys = (event) => {
    const here = painter.current;
    if (!here.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") return open(here.marked.get());
    if (event.key === "Escape") return mark(null);
    const next = move(here, event.key);
    if (!next) return;
    event.preventDefault();
    mark(next, true);
  };
  const scrolled = () => {
    painter.current.scrollTo(frame.current.scrollTop);
    redraw();
  };

  const here = painter.current;
  const scale = here?.room.scale ?? 1;
  const height = here?.grid ? here.grid.height / scale : 0;
  const none = Boolean(here?.grid) && !here.sizes.length;
  return html`
    ${none && html`<${Empty} title=${t("overview.none")} hint=${t("overview.none_hint")} code="heartfelt beat demo" />`}
    <div class="grid-around"><div class=${`grid-frame${none ? " none" : ""}`} ref=${frame} tabindex=${none ? -1 : 0} role="application" aria-label=${t("overview.grid_keys", { n: cells.size })}
        style=${{ maxHeight: here?.grid ? `${here.room.height}px` : null }}
        onScroll=${scrolled} onKeyDown=${keys} onBlur=${() => mark(null)}
        onPointerMove=${(event) => event.pointerType === "mouse" && mark(at(event))} onPointerLeave=${() => mark(null)}
        onClick=${(event) => event.target === canvas.current && open(at(event))}>
      <div class="grid-ground" style=${{ height: `${height}px` }}>
        <canvas ref=${canvas} aria-hidden="true" />
        ${here?.grid && html`<${GridLabels} painter=${here} />
          <${GridMark} painter=${here} />`}
      </div>
    </div>
    ${here?.grid && html`<${GridTip} painter=${here} cells=${cells} frame=${frame.current} />`}</div>
    <div class="only-read" role="status">${spoken}</div>`;
}

/** The screen reader text of a cell. */
function describe(cells, painter, place) {
  const slot = painter.slotOf(place);
  const values = {
    service: painter.groups[place[0]].name, number: number(place[1] + 1), of: number(painter.sizes[place[0]]),
    state: stateWord(cells.stateOf(slot), cells.isHeld(slot)), left: percent(cells.left(slot), 0),
  };
  return t("overview.cell", values);
}

/** Returns the cell that a key leads to; null: the grid does not use that key. */
function move({ grid, sizes, marked: store }, key) {
  const marked = store.get();
  if (!marked) return key.startsWith("Arrow") && sizes.length ? [0, 0] : null;
  const [block, place] = marked;
  switch (key) {
    case "ArrowRight":
      return place + 1 < sizes[block] ? [block, place + 1] : block + 1 < sizes.length ? [block + 1, 0] : marked;
    case "ArrowLeft":
      return place ? [block, place - 1] : block ? [block - 1, sizes[block - 1] - 1] : marked;
    case "ArrowDown":
      return cellBeside(grid, sizes, block, place, 1) ?? marked;
    case "ArrowUp":
      return cellBeside(grid, sizes, block, place, -1) ?? marked;
    case "Home":
      return [block, 0];
    case "End":
      return [block, sizes[block] - 1];
    case "PageDown":
      return [Math.min(sizes.length - 1, block + 1), 0];
    case "PageUp":
      return [Math.max(0, block - 1), 0];
    default:
      return null;
  }
}

/** Scrolls so that the cell can be seen. */
function show({ grid, room }, frame, place) {
  const y = cornerOf(grid, ...place)[1] / room.scale;
  const pitch = grid.pitch / room.scale;
  if (y - 24 < frame.scrollTop) frame.scrollTop = y - 24;
  else if (y + pitch + 4 > frame.scrollTop + frame.clientHeight) frame.scrollTop = y + pitch + 4 - frame.clientHeight;
}
