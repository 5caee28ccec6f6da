// SPDX-License-Identifier: MIT
/** A rate over the last minutes, by uPlot, with its newest value as text. */
import { html, useEffect, useRef } from "../lib/html.js";
import { colours, useShownTheme } from "../lib/theme.js";
import { compact, time } from "../lib/format.js";
import { useLanguage } from "../lib/i18n.js";
import UPlot from "../vendor/uplot-1.6.32.js";

const HEIGHT = 120;

/** @param {{times: number[], values: number[], colour: string, words: string, spanMs: number, endMs: number}} props ms; colour: a variable */
export function RateChart({ times, values, colour, words, spanMs, endMs }) {
  const place = useRef(null);
  const chart = useRef(null);
  const range = useRef([0, 1]);
  const theme = useShownTheme();
  const [language] = useLanguage();
  range.current = [(endMs - spanMs) / 1000, endMs / 1000];
  const data = [times.map((one) => one / 1000), values];

  useEffect(() => {
    const element = place.current;
    chart.current = new UPlot(made(element.clientWidth, colour, words, range), data, element);
    const watcher = new ResizeObserver(() => chart.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      chart.current.destroy();
      chart.current = null;
    };
  }, [theme, language, colour, words]);
  useEffect(() => chart.current?.setData(data), [times, values, endMs]);

  return html`<div class="rate-chart" ref=${place} role="img" aria-label=${words}></div>`;
}

function made(width, name, words, range) {
  const found = colours([name, "--muted", "--line"]);
  const axis = {
    stroke: found["--muted"], font: "11px system-ui, sans-serif", grid: { stroke: found["--line"], width: 1 }, ticks: { show: false },
  };
  const fill = found[name].replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)");
  return {
    width, height: HEIGHT, padding: [6, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 5 }, drag: { x: false, y: false } },
    scales: { x: { range: () => range.current }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.15)] } },
    axes: [
      { ...axis, size: 24, space: 70, values: (_, all) => all.map((one) => time(one * 1000).slice(0, 5)) },
      { ...axis, size: 44, space: 28, values: (_, all) => all.map((one) => compact(one)) },
    ],
    series: [{}, { label: words, stroke: found[name], fill, width: 1.5, points: { show: false } }],
    plugins: [tip()],
  };
}

/** The value under the pointer. */
function tip() {
  let box;
  return {
    hooks: {
      init: (chart) => {
        box = document.createElement("div");
        box.className = "chart-tip";
        box.hidden = true;
        chart.over.append(box);
      },
      setCursor: (chart) => {
        const { idx } = chart.cursor;
        box.hidden = idx === null || idx === undefined;
        if (box.hidden) return;
        box.textContent = `${time(chart.data[0][idx] * 1000)}  ${compact(chart.data[1][idx])}`;
        const left = chart.valToPos(chart.data[0][idx], "x");
        box.style.left = `${Math.min(left + 8, chart.over.clientWidth - box.offsetWidth)}px`;
      },
    },
  };
}
