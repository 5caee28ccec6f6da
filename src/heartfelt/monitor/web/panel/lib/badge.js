// SPDX-License-Identifier: MIT
/** Shows the number of failed and lost instances in the page's title and icon, so that it is visible from another tab. */
import { below } from "./base.js";
import { fleet } from "./fleet.js";
import { compact } from "./format.js";

let page = "";
let drawn = null;

export function setTitle(words) {
  page = words;
  tell();
}

function tell() {
  const { all } = fleet.get();
  const { FAILED = 0, LOST = 0 } = all?.states ?? {};
  const down = FAILED + LOST;
  document.title = `${down ? `(${down}) ` : ""}${page ? `${page} · ` : ""}heartfelt`;
  if (drawn === down) return;
  drawn = down;
  document.querySelector("link[rel=icon]").href = down ? icon(down) : below("/panel/icon.svg");
}

/** Makes a data: URL. The icon's colours are fixed, since its background is the browser's. */
function icon(down) {
  const text = down > 99 ? compact(down).replace(/\s/g, "") : String(down);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const draw = canvas.getContext("2d");
  draw.fillStyle = "#b3261e";
  draw.fillRect(0, 0, 64, 64);
  draw.fillStyle = "#ffffff";
  draw.font = `bold ${text.length < 3 ? 46 : text.length < 4 ? 34 : 26}px system-ui, sans-serif`;
  draw.textAlign = "center";
  draw.textBaseline = "middle";
  draw.fillText(text, 32, 35, 60);
  return canvas.toDataURL();
}

export function start() {
  fleet.subscribe(tell);
  tell();
}
