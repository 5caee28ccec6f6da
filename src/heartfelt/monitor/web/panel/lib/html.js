// SPDX-License-Identifier: MIT
/** Preact and htm under one name. Text goes into the page as text: nothing here sets innerHTML. */
import { Fragment, h as create, render } from "../vendor/preact-11.2.0.js";
import htm from "../vendor/htm-3.1.1.js";
import { below } from "./base.js";

export {
  useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState,
} from "../vendor/preact-hooks-11.2.0.js";
export { Fragment, render };

/** Makes a node. Links have the monitor's own paths, such as "/instances/7", wherever a proxy serves it. */
export function h(type, props, ...children) {
  const path = type === "a" ? props?.href : null;
  return create(type, path?.startsWith("/") ? { ...props, href: below(path) } : props, ...children);
}

export const html = htm.bind(h);
