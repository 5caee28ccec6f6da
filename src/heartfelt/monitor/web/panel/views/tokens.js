// SPDX-License-Identifier: MIT
/** Tokens and their permissions. A secret is shown once, when the token is created. */
import { html, useRef, useState } from "../lib/html.js";
import { forgetToken, get, send, token } from "../lib/api.js";
import { dateTime } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { usePolled } from "../lib/poll.js";
import { Confirm } from "../parts/dialog.js";
import { Empty, Failure, Loading } from "../parts/notes.js";

const SCOPES = ["ingest", "read", "admin"];

export default function View() {
  const { data, error, reload } = usePolled((signal) => get("/api/v1/tokens", {}, { signal }), 0);
  const [made, setMade] = useState(null);
  const [doomed, setDoomed] = useState(null);
  const [problem, setProblem] = useState(null);
  const [told, setTold] = useState("");
  const [own, setOwn] = useState(Boolean(token()));

  const revoke = async (one) => {
    setProblem(null);
    try {
      await send("DELETE", `/api/v1/tokens/${encodeURIComponent(one.id)}`);
      setTold(t("tokens.revoked", { name: one.name }));
    } catch (failure) {
      setProblem(failure);
    }
    reload();
  };
  const forget = () => {
    forgetToken();
    setOwn(false);
  };

  return html`<div class="admin">
    <div><h1>${t("tokens.title")}</h1><p class="muted">${t("tokens.lead")}</p></div>
    <p class="told" role="status">${told}</p>
    ${error && html`<${Failure} error=${error} retry=${reload} />`}
    ${problem && html`<${Failure} error=${problem} />`}
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<p>${data.needed ? t("tokens.needed") : t("tokens.not_needed")}</p>`}
    ${own && html`<p>${t("tokens.of_browser")} <button onClick=${forget}>${t("tokens.forget")}</button></p>`}
    ${made && html`<${Made} made=${made} onDone=${() => setMade(null)} />`}
    ${data?.tokens.length === 0 && !made && html`<${Empty} title=${t("tokens.none")} hint=${t("tokens.none_hint")} code="heartfelt token create --help" />`}
    ${data?.tokens.length > 0 && html`<${Table} tokens=${data.tokens} onRevoke=${setDoomed} />`}
    ${data && html`<${Maker} onMade=${(one) => {
      setMade(one);
      reload();
    }} />`}
    ${doomed && html`<${Confirm} title=${t("tokens.revoke")} words=${t("tokens.revoke_sure", { name: doomed.name })}
      action=${t("tokens.revoke")} act=${() => revoke(doomed)} close=${() => setDoomed(null)} />`}
  </div>`;
}

/** What a token allows: its scopes, or the pings of one key. */
const allowed = (one) => one.key === null
  ? one.scopes.map((scope) => t(`tokens.scope_${scope}`)).join(", ")
  : t("tokens.pings_key", { key: one.key });

function Table({ tokens, onRevoke }) {
  return html`<table class="stacked">
    <thead><tr>
      ${["name", "scopes", "created", "id"].map((name) => html`<th scope="col">${t(`tokens.${name}`)}</th>`)}
      <th scope="col"><span class="only-read">${t("tokens.revoke")}</span></th>
    </tr></thead>
    <tbody>${tokens.map((one) => html`<tr key=${one.id}>
      <th scope="row" data-label=${t("tokens.name")}>${one.name}</th>
      <td data-label=${t("tokens.scopes")}>${allowed(one)}</td>
      <td data-label=${t("tokens.created")}><time>${dateTime(one.created_ms)}</time></td>
      <td data-label=${t("tokens.id")} class="mono">${one.id}</td>
      <td class="end"><button onClick=${() => onRevoke(one)}>${t("tokens.revoke")}<span class="only-read"> ${one.name}</span></button></td>
    </tr>`)}</tbody>
  </table>`;
}

/** The form for a new token. */
function Maker({ onMade }) {
  const form = useRef(null);
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const make = async (event) => {
    event.preventDefault();
    const given = new FormData(form.current);
    const name = given.get("name").trim();
    const scopes = given.getAll("scope");
    if (!name || !scopes.length) {
      setWrong(t(name ? "tokens.scopes_missing" : "tokens.name_missing"));
      form.current.elements[name ? "token-scope-ingest" : "token-name"].focus();
      return;
    }
    setBusy(true);
    try {
      const one = await send("POST", "/api/v1/tokens", { name, scopes });
      form.current.reset();
      setWrong("");
      onMade(one);
    } catch (error) {
      setWrong(error.message);
    }
    setBusy(false);
  };
  return html`<section aria-labelledby="token-new">
    <h2 id="token-new">${t("tokens.new")}</h2>
    <form ref=${form} class="form narrow" onSubmit=${make} autocomplete="off">
      <div class="field">
        <label for="token-name">${t("tokens.new_name")}</label>
        <input id="token-name" name="name" maxlength="100" aria-describedby="token-name-hint" />
        <p class="hint" id="token-name-hint">${t("tokens.new_name_hint")}</p>
      </div>
      <fieldset><legend>${t("tokens.scopes")}</legend>
        ${SCOPES.map((scope) => html`<label class="tick"><input type="checkbox" id="token-scope-${scope}" name="scope" value=${scope} />
          <span><b>${t(`tokens.scope_${scope}`)}</b> <span class="muted">${t(`tokens.scope_${scope}_means`)}</span></span></label>`)}
      </fieldset>
      <p class="wrong" role="alert">${wrong}</p>
      <div class="row"><button class="primary" disabled=${busy}>${t("tokens.make")}</button></div>
    </form>
  </section>`;
}

/** Shows the secret, this once. */
function Made({ made, onDone }) {
  const field = useRef(null);
  const [told, setTold] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(made.token);
      setTold(t("tokens.copied"));
    } catch {
      field.current.select(); // no clipboard without TLS on another machine
      setTold(t("tokens.copy_failed"));
    }
  };
  return html`<section class="notice good" aria-label=${t("tokens.secret")}>
    <p role="status">${t("tokens.made", { name: made.name })}</p>
    <div class="secret">
      <input ref=${field} class="mono" readonly value=${made.token} aria-label=${t("tokens.secret")} onFocus=${(event) => event.target.select()} />
      <button class="primary" onClick=${copy}>${t("tokens.copy")}</button>
      <button onClick=${onDone}>${t("tokens.done")}</button>
    </div>
    <p class="told" role="status">${told}</p>
  </section>`;
}
