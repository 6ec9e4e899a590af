// Hands what Reflex sends over to the store; asks for everything again where something was missed.
import { useEffect } from "react";
import { take } from "$/public/store.js";

export function BarFeed({ feed, onGap }) {
  useEffect(() => {
    if (feed?.bars && !take(feed)) onGap();
  }, [feed]);
  return null;
}
