// SPDX-License-Identifier: MIT
/** The entry of the page: starts the background parts, and shows the view of the path. */
import { html, render, useEffect, useState } from "./lib/html.js";
import * as badge from "./lib/badge.js";
import * as fleet from "./lib/fleet.js";
import * as i18n from "./lib/i18n.js";
import * as keys from "./lib/keys.js";
import * as live from "./lib/live.js";
import * as missing from "./lib/missing.js";
import * as router from "./lib/router.js";
import * as stats from "./lib/stats.js";
import * as theme from "./lib/theme.js";
import { Shell, MENU } from "./parts/shell.js";
import { FleetBanners, LostBanner } from "./parts/connection.js";
import { KeyHelp } from "./parts/key-help.js";
import { TokenDialog } from "./parts/token-dialog.js";
import { Failure, Loading } from "./parts/notes.js";
import { Component } from "./vendor/preact-11.2.0.js";

const { t } = i18n;

/** Shows an error in place of a view that crashed; the rest of the page keeps working. */
class Guard extends Component {
  state = { error: null };
  static getDerivedStateFromError(error) {
    return { error };
  }
  componentDidCatch(error) {
    console.error(error);
  }
  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const shown = { title: t("shell.fault"), detail: `${error.message}. ${t("shell.fault_detail")}` };
    return html`<${Failure} error=${shown} retry=${() => this.setState({ error: null })} />`;
  }
}

const loaded = new Map();

/** Loads a view's module when it is first needed. */
function useView(name) {
  const [, setLoaded] = useState(null);
  useEffect(() => {
    if (!name || loaded.has(name)) return;
    import(`./views/${name}.js`).then(
      (module) => loaded.set(name, module) && setLoaded(name),
      (error) => console.error(error) ?? (loaded.set(name, { error }) && setLoaded(`${name} failed`)),
    );
  }, [name]);
  return loaded.get(name);
}

function View({ path, view, values }) {
  const module = useView(view);
  useEffect(() => badge.setTitle(t(view ? `${view}.title` : "shell.no_page")));
  if (!view) {
    return html`<div class="note">
      <h1>${t("shell.no_page")}</h1>
      <p><code>${path}</code></p>
      <p>${t("shell.no_page_detail")}</p>
      <p><a href="/">${t("shell.no_page_back")}</a></p>
    </div>`;
  }
  if (!module) return html`<${Loading} />`;
  if (module.error) {
    const error = { title: t("shell.no_view"), detail: t("shell.no_view_detail") };
    return html`<${Failure} error=${error} retry=${() => location.reload()} />`;
  }
  return html`<${module.default} ...${values} />`;
}

function App() {
  i18n.useLanguage();
  const { path, view, values } = router.useRoute();
  const [helps, setHelps] = useState(false);
  const go = MENU.map(([to, name, key]) => [
    `g ${key}`, { run: () => router.navigate(to), words: t("shell.go", { page: t(`${name}.title`) }) },
  ]);
  keys.useKeys({
    "?": { run: () => setHelps(true), words: t("shell.keys") },
    "/": { run: () => router.navigate("/instances?focus=search"), words: t("shell.search") },
    ...Object.fromEntries(go),
  });
  return html`
    <${Shell} path=${path}>
      <${LostBanner} />
      <${FleetBanners} />
      <${Guard} key=${path}><${View} path=${path} view=${view} values=${values} /><//>
    <//>
    ${helps && html`<${KeyHelp} close=${() => setHelps(false)} />`}
    <${TokenDialog} />`;
}

for (const part of [theme, i18n, keys, router, fleet, badge, stats, missing, live]) part.start();
render(html`<${App} />`, document.getElementById("app"));
