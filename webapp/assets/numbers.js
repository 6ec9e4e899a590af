// Numbers as the page writes them.

const MOST = 8;
const EXACT = 1e-12; // relative: what a double leaves open

const hasMore = (value, decimals) => Math.abs(value - Math.round(value * 10 ** decimals) / 10 ** decimals) > Math.abs(value) * EXACT;

/** How many decimals the prices of some bars have, two to eight. */
export const decimalsOf = (bars) => {
  let most = 2;
  for (const bar of bars.slice(-50)) {
    for (const price of [bar.open, bar.high, bar.low, bar.close]) {
      while (most < MOST && hasMore(price, most)) most += 1;
    }
  }
  return most;
};
export const price = (value, decimals) => value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
/** A sum: whole from 1000 on, with four decimals below, of less than 1 its first four digits. */
export const amount = (value) => {
  const size = Math.abs(value);
  if (size < 1) return value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
  return value.toLocaleString("en-US", { maximumFractionDigits: size < 1000 ? 4 : 0 });
};
export const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${price(Math.abs(value), digits)}`;

/** How long a change took, in words. */
export const span = (seconds) => {
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
};
