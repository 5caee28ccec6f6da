// SPDX-License-Identifier: MIT
/** The frame of every view: the header with menu, counts, connection, language and theme. */
import { html, useState } from "../lib/html.js";
import { LANGUAGES, t, useLanguage } from "../lib/i18n.js";
import { useFleet } from "../lib/fleet.js";
import { DOWN, STATE_NAMES, stateWord } from "../lib/state.js";
import { useTheme } from "../lib/theme.js";
import { number } from "../lib/format.js";
import { StateShape } from "./state-mark.js";
import { Connection } from "./connection.js";

export const MENU = [
  ["/", "overview", "o"],
  ["/instances", "instances", "i"],
  ["/services", "services", "s"],
  ["/events", "events", "e"],
  ["/webhooks", "webhooks", "w"],
  ["/tokens", "tokens", "t"],
  ["/settings", "settings", "c"],
];

function Menu({ path, isOpen, close }) {
  return html`<nav id="menu" class=${isOpen ? "open" : ""} aria-label=${t("shell.menu")} onClick=${close}>
    ${MENU.map(([to, name]) => {
      const here = to === "/" ? path === "/" : path === to || path.startsWith(`${to}/`);
      return html`<a href=${to} aria-current=${here ? "page" : null}>${t(`${name}.title`)}</a>`;
    })}
  </nav>`;
}

/** The numbers of instances by state, each a link to those instances. */
function Counts() {
  const all = useFleet((fleet) => fleet.all);
  if (!all) return html`<div class="counts"></div>`;
  const { states } = all;
  const words = (state) => stateWord(state) + (state === "LOST" && all.held ? ` (${t("shell.held", { n: all.held })})` : "");
  const shown = STATE_NAMES.filter((state) => states[state] || state === "LOST" || state === "UP");
  return html`<div class="counts" aria-label=${t("shell.counts")} role="group">
    ${shown.map((state) => html`<a href=${`/instances?state=${state}`} key=${state}
        class=${DOWN.includes(state) && states[state] ? "alarm" : ""} title=${words(state)}>
      <${StateShape} state=${state} /><b>${number(states[state] ?? 0)}</b>
      <span class="only-read">${words(state)}</span>
    </a>`)}
  </div>`;
}

function Language() {
  const [language, setLanguage] = useLanguage();
  const [next, words] = LANGUAGES.find(([name]) => name !== language);
  return html`<button class="quiet" lang=${next} onClick=${() => setLanguage(next)}>${words}</button>`;
}

const THEMES = ["system", "light", "dark"];
const THEME_SIGNS = {
  system: "M8 2.5A5.5 5.5 0 1 0 8 13.5A5.5 5.5 0 1 0 8 2.5ZM8 2.5V13.5",
  light: "M8 5A3 3 0 1 0 8 11A3 3 0 1 0 8 5ZM8 1V2.5M8 13.5V15M1 8H2.5M13.5 8H15M3 3L4 4M12 12L13 13M13 3L12 4M4 12L3 13",
  dark: "M13 10A5.5 5.5 0 1 1 6.5 3A4.5 4.5 0 0 0 13 10Z",
};

function Theme() {
  const [theme, setTheme] = useTheme();
  const words = t("shell.theme", { theme: t(`shell.theme_${theme}`) });
  const next = () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
  return html`<button class="quiet icon" onClick=${next} title=${words} aria-label=${words}>
    <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path class="line" d=${THEME_SIGNS[theme]} /></svg>
  </button>`;
}

export function Shell({ path, children }) {
  const [isOpen, setOpen] = useState(false);
  return html`
    <a class="skip" href="#main">${t("shell.skip")}</a>
    <header>
      <button class="quiet icon menu-button" aria-expanded=${isOpen} aria-controls="menu" aria-label=${t("shell.menu")}
          onClick=${() => setOpen(!isOpen)}>
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path class="line" d="M2 4H14M2 8H14M2 12H14" /></svg>
      </button>
      <a class="brand" href="/" aria-label=${t("shell.home")}>
        <svg viewBox="0 0 32 16" width="32" height="16" aria-hidden="true"><path class="line" d="M1 8H9L12 2L17 14L20 8H31" /></svg>
        <span>heartfelt</span>
      </a>
      <${Menu} path=${path} isOpen=${isOpen} close=${() => setOpen(false)} />
      <${Counts} />
      <div class="tools"><${Connection} /><${Language} /><${Theme} /></div>
    </header>
    <main id="main" tabindex="-1">${children}</main>`;
}
