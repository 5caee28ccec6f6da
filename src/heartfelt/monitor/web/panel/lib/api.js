// SPDX-License-Identifier: MIT
/** The monitor's REST interface. Every failure is an ApiError with a title and a detail that says what to do. */
import { below } from "./base.js";
import { createStore } from "./store.js";
import { t } from "./i18n.js";

const KEPT = "heartfelt.token";
const WAIT_MS = 30_000;

/** Whether a token is requested: null, or the refusal's {detail}. The shell shows the dialog. */
export const tokenAsked = createStore(null);
let answered = [];
/** The last answer that was not whole: {names} of the monitors of the fleet that did not answer. */
export const missed = createStore(null);

export class ApiError extends Error {
  /** @param {{status: number, title: string, detail: string, code?: string, field?: string}} problem */
  constructor(problem) {
    super(problem.detail || problem.title);
    this.status = problem.status;
    this.title = problem.title;
    this.detail = problem.detail;
    this.code = problem.code ?? "";
    this.field = problem.field ?? "";
  }
}

export const token = () => sessionStorage.getItem(KEPT);

/** Takes the token that was typed; null: none, so waiting requests fail. */
export function giveToken(text) {
  if (text) sessionStorage.setItem(KEPT, text);
  tokenAsked.set(null);
  const waiting = answered;
  answered = [];
  for (const go of waiting) go(Boolean(text));
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT);
}

/** Shows the dialog. Returns true if there is another token to try. */
export function askForToken(detail) {
  return new Promise((go) => {
    answered.push(go);
    tokenAsked.set({ detail });
  });
}

export function headers(more = {}) {
  const secret = token();
  return secret ? { ...more, Authorization: `Bearer ${secret}` } : more;
}

/** {a: 1, b: ["x", "y"], c: null} as "?a=1&b=x&b=y". */
export function queryText(params = {}) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") made.append(name, String(one));
    }
  }
  const text = made.toString();
  return text && `?${text}`;
}

/** Makes an ApiError of a response. */
export async function problemOf(answer) {
  const problem = await answer.json().catch(() => null);
  return new ApiError({
    status: answer.status,
    title: problem?.title ?? answer.statusText ?? "",
    detail: problem?.detail ?? `HTTP ${answer.status}`,
    code: problem?.code,
    field: problem?.field,
  });
}

async function call(path, options) {
  for (;;) {
    const used = token();
    let answer;
    try {
      const signal = options.signal ?? AbortSignal.timeout(WAIT_MS);
      answer = await fetch(below(path), { ...options, headers: headers(options.headers), signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError({ status: 0, title: t("shell.unreachable"), detail: t("shell.unreachable_detail"), code: "network" });
    }
    const names = answer.headers.get("Heartfelt-Missing");
    if (names) missed.set({ names });
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const error = await problemOf(answer);
    if (error.status !== 401) throw error;
    if (token() !== used) continue; // another request has asked for it meanwhile
    if (!(await askForToken(error.detail))) throw error;
  }
}

/**
 * @param {string} path such as "/api/v1/instances"
 * @param {Record<string, any>} [params] lists are repeated; null and "" are left out
 * @param {{signal?: AbortSignal}} [options]
 */
export const get = (path, params, options = {}) => call(path + queryText(params), { method: "GET", ...options });

/** @param {string} method @param {string} path @param {any} [body] sent as JSON */
export const send = (method, path, body) =>
  call(path, body === undefined
    ? { method }
    : { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
