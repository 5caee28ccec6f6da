// SPDX-License-Identifier: MIT
/** The fleet at a glance: counts, the grid, rates, detection delay. */
import { html } from "../lib/html.js";
import { fleet, load, useFleet } from "../lib/fleet.js";
import { compact, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { DOWN, STATE_NAMES, stateMeaning, stateWord } from "../lib/state.js";
import { stats as known, useStats } from "../lib/stats.js";
import { useStore } from "../lib/store.js";
import { FleetGrid } from "../parts/fleet-grid.js";
import { Histogram } from "../parts/histogram.js";
import { HoldBanner } from "../parts/hold-banner.js";
import { Failure } from "../parts/notes.js";
import { RateChart } from "../parts/rate-chart.js";
import { StateMark, StateShape } from "../parts/state-mark.js";

const SPAN_MS = 15 * 60_000;

function Tile({ label, value, href }) {
  return html`<a class="tile" href=${href}><span>${label}</span><b>${number(value)}</b></a>`;
}

function Tiles() {
  const { all, applications, services } = useFleet();
  const monitors = useStore(known)?.monitors.length;
  if (!all) return null;
  const states = STATE_NAMES.filter((name) => all.states[name] || name === "UP" || name === "LOST");
  return html`<div class="tiles">
    ${monitors > 0 && html`<${Tile} label=${t("overview.monitors")} value=${monitors} href="/settings" />`}
    <${Tile} label=${t("overview.applications")} value=${applications} href="/instances?sort=app" />
    <${Tile} label=${t("overview.services")} value=${Object.keys(services).length} href="/services" />
    <${Tile} label=${t("overview.instances")} value=${all.total} href="/instances" />
    <div class="tile-states">
      ${states.map((name) => html`<a class="tile" key=${name} href=${`/instances?state=${name}`} title=${stateMeaning(name)} data-state=${all.states[name] ? name : null}>
        <span><${StateShape} state=${name} /> ${stateWord(name)}</span><b>${number(all.states[name] ?? 0)}</b>
      </a>`)}
    </div>
  </div>`;
}

/** Says that a figure is not the fleet's. */
const OfThisMonitor = () => html` <span class="small muted">${t("overview.of_this_monitor")}</span>`;

function Rate({ title, stats, values, colour }) {
  const newest = values.at(-1);
  return html`<section class="panel">
    <div class="panel-head row spread"><h2>${title}${stats.monitors.length > 0 && html`<${OfThisMonitor} />`}</h2><b>${newest === undefined ? "–" : compact(newest)}</b></div>
    <div class="panel-body"><${RateChart} times=${stats.rates.times_ms} values=${values} colour=${colour} words=${title}
      spanMs=${SPAN_MS} endMs=${stats.now_ms} /></div>
  </section>`;
}

function Figures() {
  const stats = useStats();
  if (!stats) return null;
  const ofMany = stats.monitors.length > 0;
  return html`<div class="figure-panels">
    <${Rate} title=${t("overview.beats_per_s")} stats=${stats} values=${stats.rates.beats_per_s} colour="--accent" />
    <${Rate} title=${t("overview.events_per_s")} stats=${stats} values=${stats.rates.events_per_s} colour="--stuck" />
    <section class="panel">
      <div class="panel-head"><h2 title=${t("overview.lateness_means")}>${t("overview.lateness")}${ofMany && html`<${OfThisMonitor} />`}</h2></div>
      <div class="panel-body"><${Histogram} lateness=${stats.lateness} none=${t(ofMany ? "overview.no_losses_here" : "overview.no_losses")} /></div>
    </section>
  </div>`;
}

export default function View() {
  const error = useFleet((one) => one.error);
  const { loaded } = fleet.get();
  if (error && !loaded) return html`<${Failure} error=${error} retry=${load} />`;
  return html`
    <h1 class="only-read">${t("overview.title")}</h1>
    <${HoldBanner} />
    <${Tiles} />
    <section class="panel">
      <div class="panel-head row spread"><h2>${t("overview.grid")}</h2><${Legend} /></div>
      <div class="panel-body"><${FleetGrid} /></div>
    </section>
    <${Figures} />`;
}

function Legend() {
  return html`<div class="legend small muted">
    <span><span class="fade" aria-hidden="true"><i /><i /><i /><i /><i /></span>${t("overview.legend")}</span>
    ${DOWN.map((name) => html`<${StateMark} key=${name} state=${name} />`)}
    <span title=${t("overview.legend_held_means")}><${StateShape} state="LATE" held=${true} />${t("overview.legend_held")}</span>
  </div>`;
}
