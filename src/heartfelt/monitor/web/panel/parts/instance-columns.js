// SPDX-License-Identifier: MIT
/** The columns of the table of instances: those of Sermant's panel, and more that its users need. */
import { html } from "../lib/html.js";
import { age, dateTime, duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { reasonText } from "../lib/reasons.js";
import { StateMark } from "./state-mark.js";

const NONE = "–";
const words = (text, className = "cut") => html`<span class=${className} title=${text ?? ""}>${text || NONE}</span>`;
const mono = (text) => words(text, "cut mono");

/** {flow: "2.2.0"} as "flow:2.2.0, ...". */
const versions = (map) => {
  const all = Object.entries(map).map(([name, version]) => (version ? `${name}:${version}` : name));
  return words(all.join(", "));
};

const extra = (map = {}) => {
  const all = Object.entries(map).flatMap(([plugin, info]) =>
    Object.entries(info).map(([name, value]) => `${plugin}.${name}=${typeof value === "string" ? value : JSON.stringify(value)}`));
  return words(all.join(", "));
};

const sign = (letter, words) => html` <span class="sign" title=${words}>${letter}<span class="only-read"> ${words}</span></span>`;

const stateCell = ({ state, held, ack }) => html`<${StateMark} state=${state} />${held && sign("H", t("states.held"))}${ack
  && sign("A", t("instances.acked", { by: ack.by, why: ack.why }))}`;

const when = (ms, nowMs) => html`<time class="cut" datetime=${new Date(ms).toISOString()} title=${dateTime(ms)}>${age(ms, nowMs)}</time>`;

/** @type {Record<string, {width: number, sort?: string, end?: boolean, cell: (row: any, nowMs: number) => any}>} */
export const CELLS = {
  state: { width: 92, sort: "state", cell: stateCell },
  service: { width: 120, sort: "service", cell: (row) => words(row.service) },
  instance: {
    width: 190, sort: "instance_id",
    cell: (row) => html`<a class="row-link cut mono" href=${`/instances/${row.id}`} title=${row.instance_id}>${row.instance_id}</a>`,
  },
  app: { width: 100, sort: "app", cell: (row) => words(row.app) },
  host: { width: 170, sort: "host", cell: (row) => words(row.host) },
  ip: { width: 120, sort: "ip", cell: (row) => mono(row.ips.join(", ")) },
  last_beat: { width: 110, sort: "last_beat", end: true, cell: (row, nowMs) => when(row.last_beat_ms, nowMs) },
  version: { width: 90, sort: "version", cell: (row) => words(row.version) },
  skew: { width: 86, sort: "skew", end: true, cell: (row) => duration(row.skew_ms) },
  artifact: { width: 120, sort: "artifact", cell: (row) => words(row.artifact) },
  process_id: { width: 90, sort: "process_id", end: true, cell: (row) => words(row.process_id) },
  dynamic_install: {
    width: 96, sort: "dynamic_install",
    cell: (row) => (row.dynamic_install === null ? NONE : t(row.dynamic_install ? "instances.yes" : "instances.no")),
  },
  plugins: { width: 260, cell: (row) => versions(row.plugins) },
  ext: { width: 220, cell: (row) => extra(row.ext_info) },
  external: { width: 160, cell: (row) => versions(row.external_agents) },
  since: { width: 110, sort: "since", end: true, cell: (row, nowMs) => when(row.since_ms, nowMs) },
  reason: { width: 340, cell: (row) => words(reasonText(row)) },
  lag: { width: 90, sort: "lag", end: true, cell: (row) => duration(row.lag_ms) },
  interval: { width: 84, end: true, cell: (row) => duration(row.interval_ms) },
  lease: { width: 84, sort: "lease", end: true, cell: (row) => duration(row.lease_ms) },
  beats: { width: 80, end: true, cell: (row) => number(row.beats) },
  expected: { width: 84, cell: (row) => t(row.expected ? "instances.yes" : "instances.no") },
  ack: { width: 200, cell: ({ ack }) => words(ack && t("instances.acked", { by: ack.by, why: ack.why })) },
  first_seen: { width: 110, sort: "first_seen", end: true, cell: (row, nowMs) => when(row.first_seen_ms, nowMs) },
  via: { width: 76, cell: (row) => words(row.via) },
  peer: { width: 120, cell: (row) => mono(row.peer) },
};

const USUAL = [
  "state", "service", "instance", "app", "host", "ip", "last_beat", "version", "skew", "plugins", "ext", "artifact",
  "process_id", "dynamic_install", "external",
];
const ON_A_PHONE = ["state", "instance", "service", "last_beat"];
const NARROW = { state: 80, instance: 88, service: 82, last_beat: 84 };
const phone = matchMedia("(max-width: 640px)");

export const isPhone = () => phone.matches;
export const usualColumns = () => (phone.matches ? ON_A_PHONE : USUAL);

/** @param {string[]} names unknown ones are ignored; the instance column is always there, as it opens a row */
export function columnsOf(names) {
  const known = names.filter((name) => name in CELLS);
  const shown = known.includes("instance") ? known : ["instance", ...known];
  const narrow = phone.matches && shown.every((name) => name in NARROW);
  return shown.map((name) => ({
    name, words: t(`instances.col_${name}`), ...CELLS[name], ...(narrow && { width: NARROW[name] }),
  }));
}
