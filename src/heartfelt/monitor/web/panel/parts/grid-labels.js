// SPDX-License-Identifier: MIT
/** The names of services above their blocks: links, only for those in sight. */
import { html } from "../lib/html.js";
import { useFleet } from "../lib/fleet.js";
import { number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { DOWN } from "../lib/state.js";
import { StateShape } from "./state-mark.js";

export function GridLabels({ painter }) {
  const services = useFleet((fleet) => fleet.services);
  const { grid, groups, room, scroll, canvas } = painter;
  const { scale } = room;
  const shown = [];
  grid.blocks.forEach(({ x, y, width }, i) => {
    const top = y - grid.label;
    if (top + grid.label < scroll || top > scroll + canvas.height) return;
    const { name } = groups[i];
    const counts = services[name];
    const states = counts?.states ?? {};
    const style = { left: `${x / scale}px`, top: `${top / scale}px`, width: `${width / scale}px` };
    shown.push(html`<a key=${name} class="grid-label" href=${`/instances?service=${encodeURIComponent(name)}`} style=${style}
        title=${t("overview.service", { name, up: counts?.up ?? 0, total: counts?.total ?? 0 })}>
      <span>${name}</span>
      ${DOWN.filter((state) => states[state]).map((state) => html`<b key=${state} data-state=${state}><${StateShape}
        state=${state} />${number(states[state])}</b>`)}
      <i>${number(counts?.total ?? groups[i].slots.length)}</i>
    </a>`);
  });
  return shown;
}
