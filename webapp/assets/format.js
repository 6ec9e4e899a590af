// Times as the page writes them.
import { exchangeZone, zone } from "$/public/store.js";

const HISTORICAL_MS = 86_400_000;

/** The IANA zone of a choice; undefined is the viewer's own. */
export const zoneOf = (choice) => ({ exchange: exchangeZone.value, utc: "UTC" })[choice];

const formats = new Map();
const format = (options) => {
  const key = JSON.stringify([zone.value, exchangeZone.value, options]);
  let made = formats.get(key);
  if (!made) {
    made = new Intl.DateTimeFormat("en-GB", { timeZone: zoneOf(zone.value), hourCycle: "h23", ...options });
    formats.set(key, made);
  }
  return made;
};
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const DAY = { year: "numeric", month: "short", day: "2-digit" };

export const clock = (ms) => (ms === null ? "–" : format(CLOCK).format(ms));
export const clockMs = (ms) => (ms === null ? "–" : format({ ...CLOCK, fractionalSecondDigits: 3 }).format(ms));
export const minute = (ms) => format({ hour: "2-digit", minute: "2-digit" }).format(ms);
export const day = (ms) => format(DAY).format(ms);
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$/;
/** A text as it is, but a moment (ISO 8601 in UTC) as time of day; one without seconds or not of today with its day. */
export const moment = (text) => {
  const [is, seconds] = MOMENT.exec(text) ?? [];
  if (!is) return text;
  const ms = Date.parse(text);
  if (!seconds) return `${day(ms)} ${minute(ms)}`;
  return day(ms) === day(Date.now()) ? clock(ms) : `${day(ms)} ${clock(ms)}`;
};

/** A latency from one wall clock to another; none where one is unknown or the feed is of another day. */
export const latency = (from, to) =>
  from === null || to === null || to - from >= HISTORICAL_MS ? "–" : `${(to - from).toLocaleString("en-US")} ms`;
