// How all charts look: colours from the page's variables, times in the chosen zone.
import { clock, day, minute } from "$/public/format.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const look = () => ({
  layout: {
    background: { color: "transparent" },
    textColor: colour("muted"),
    fontFamily: getComputedStyle(document.body).fontFamily,
    fontSize: 11,
    attributionLogo: true,
  },
  grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
  crosshair: {
    mode: 0,
    vertLine: { color: colour("faint"), labelBackgroundColor: colour("raised") },
    horzLine: { color: colour("faint"), labelBackgroundColor: colour("raised") },
  },
  rightPriceScale: { borderColor: colour("line") },
  leftPriceScale: { borderColor: colour("line") },
  timeScale: { borderColor: colour("line") },
});
export const candleLook = () => ({
  upColor: colour("up"), downColor: colour("down"), wickUpColor: colour("up"), wickDownColor: colour("down"),
  borderVisible: false, priceLineColor: colour("faint"), priceLineStyle: 2,
});
/** Ticks by their kind: below 3 a day or more, 3 a minute or more, else seconds. */
export const times = () => ({
  localization: { timeFormatter: (s) => `${day(s * 1000)} ${clock(s * 1000)}` },
  timeScale: { tickMarkFormatter: (s, kind) => (kind < 3 ? day(s * 1000) : kind === 3 ? minute(s * 1000) : clock(s * 1000)) },
});
export const priceFormat = (decimals) => ({ type: "price", precision: decimals, minMove: 10 ** -decimals });
