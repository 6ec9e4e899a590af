// Hands what Reflex sends over to the store; asks for everything again where something was missed.
import { useEffect, useRef } from "react";
import { take } from "$/public/store.js";

/** Of a page that is loaded while the refresh is off the server has what an earlier one was sent last. */
export function BarFeed({ feed, isLive, onGap }) {
  const isFirst = useRef(true);
  useEffect(() => {
    if (!feed?.bars) return;
    const isOld = isFirst.current && !isLive;
    isFirst.current = false;
    if (!take(feed) || isOld) onGap();
    if (feed.symbol) nameInAddress(feed.symbol);
  }, [feed]);
  return null;
}

/** Let the address name the symbol that is shown: the server obeys it at each connection, also a later one. */
const nameInAddress = (symbol) => {
  const address = new URL(location);
  if (address.searchParams.get("symbol") === symbol) return;
  address.searchParams.set("symbol", symbol);
  history.replaceState(history.state, "", address);
};
