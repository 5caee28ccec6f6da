// SPDX-License-Identifier: MIT
/** Preact and htm under one name. Text goes into the page as text: nothing here sets innerHTML. */
import { Fragment, h, render } from "../vendor/preact-11.2.0.js";
import htm from "../vendor/htm-3.1.1.js";

export {
  useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState,
} from "../vendor/preact-hooks-11.2.0.js";
export { Fragment, h, render };
export const html = htm.bind(h);
