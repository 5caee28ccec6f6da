// SPDX-License-Identifier: MIT
/** The path below which the monitor is reached: "", or one such as "/heartfelt" behind a proxy. */

/** This module is BASE/panel/lib/base.js. */
export const base = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** "/instances/7" as an address: "/heartfelt/instances/7". @param {string} path of the monitor's own */
export const below = (path) => base + path;

/** The path of an address without the base. @param {string} pathname such as location.pathname */
export function own(pathname) {
  if (!base || !(pathname === base || pathname.startsWith(`${base}/`))) return pathname;
  return pathname.slice(base.length) || "/";
}
