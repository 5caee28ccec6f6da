// SPDX-License-Identifier: MIT
/** The tip of the cell under the pointer; its name and reason are loaded when the pointer rests. */
import { html, useEffect, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useNow } from "../lib/clock.js";
import { age, duration, percent } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { reasonText } from "../lib/reasons.js";
import { cornerOf } from "./grid-layout.js";
import { useStore } from "../lib/store.js";
import { StateMark } from "./state-mark.js";

const REST_MS = 120;
const WIDTH = 300;

/** The frame around the cell. */
export function GridMark({ painter }) {
  const marked = useStore(painter.marked);
  if (!marked || !painter.grid.blocks[marked[0]]) return null;
  const [x, y] = cornerOf(painter.grid, ...marked).map((one) => one / painter.room.scale);
  const size = `${painter.grid.pitch / painter.room.scale + 4}px`;
  return html`<i class="grid-mark" style=${{ left: `${x - 2}px`, top: `${y - 2}px`, width: size, height: size }} />`;
}

/** Drawn above the grid's surroundings too, so that a low grid does not cut it off. */
export function GridTip({ painter, cells, frame }) {
  const marked = useStore(painter.marked);
  const slot = marked && painter.slotOf(marked);
  return slot === null ? null : html`<${Tip} painter=${painter} cells=${cells} frame=${frame} marked=${marked} slot=${slot} />`;
}

function Tip({ painter, cells, frame, marked, slot }) {
  const nowMs = useNow(1000);
  const id = cells.ids[slot];
  const [found, setFound] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      get(`/api/v1/instances/${id}`, {}, { signal: stop.signal }).then(
        ({ instance }) => setFound(instance),
        (error) => error.name === "AbortError" || console.warn(error), // the tip still shows what the grid knows
      );
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [id]);
  const { grid, room } = painter;
  const [x, inAll] = cornerOf(grid, ...marked).map((one) => one / room.scale);
  const y = inAll - frame.scrollTop;
  const pitch = grid.pitch / room.scale;
  const below = y + pitch < frame.clientHeight / 2 || y < 160;
  const style = {
    left: `${Math.max(0, Math.min(x, room.width - Math.min(WIDTH, room.width)))}px`,
    top: `${y + (below ? pitch + 6 : -6)}px`,
    width: `${Math.min(WIDTH, room.width)}px`,
    transform: below ? "" : "translateY(-100%)",
  };
  const more = found?.id === id ? found : null;
  return html`<div class="grid-tip" style=${style}>
    <p class="spread row"><${StateMark} state=${cells.stateOf(slot)} held=${cells.isHeld(slot)} /><span class="muted small">${painter.groups[marked[0]].name}</span></p>
    <p class="mono small">${more ? more.instance_id : `#${id}`}</p>
    <p class="small">${t("overview.tip", {
      age: age(cells.lastMs[slot], nowMs), left: percent(cells.left(slot, nowMs), 0), lease: duration(cells.leaseMs[slot]),
    })}</p>
    ${more && html`<p class="small muted">${[more.host, more.ips[0], more.version].filter(Boolean).join(" · ")}</p>
      <p class="small muted">${reasonText(more)}</p>`}
  </div>`;
}
