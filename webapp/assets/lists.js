// What the page does with lists of symbols, bars and quotes.

const MOST_FOUND = 50;

/** Whether a text can be the name of a symbol; as in glue/core/ticks.py. */
export const isSymbol = (text) => /^[A-Za-z0-9_./:-]{1,32}$/.test(text);

/** The symbol that is a text, those that begin with it, those that have it; where the list `isCut`, first what was typed. */
export const search = (symbols, text, isCut) => {
  const typed = text.trim();
  const wanted = typed.toUpperCase();
  const hits = symbols.filter((name) => name.toUpperCase().includes(wanted));
  const begins = (name) => name.toUpperCase().startsWith(wanted);
  const own = isCut && isSymbol(typed) && !symbols.includes(typed) ? [typed] : [];
  const rank = (name) => (name === typed ? 0 : name.toUpperCase() === wanted ? 1 : begins(name) ? 2 : 3);
  return [...own, ...hits.sort((a, b) => rank(a) - rank(b))].slice(0, MOST_FOUND);
};

/** The bars of the last `seconds` before the newest one, whatever a tab has gathered. */
export const within = (bars, seconds) => {
  const since = (bars.at(-1)?.start_ts_ms ?? 0) - seconds * 1000;
  return bars.slice(bars.findIndex((bar) => bar.start_ts_ms >= since));
};

const keyOf = (bar, by) => {
  if (by !== "latency") return bar[by];
  return bar.receive_ms === null ? null : bar.receive_ms - bar.start_ts_ms;
};

/** Bars in the order of a column; those that have nothing in it come last. */
export const ordered = (bars, by, isDown) => {
  const isBlank = (bar) => keyOf(bar, by) === null;
  return [...bars].sort((a, b) => isBlank(a) - isBlank(b) || (keyOf(a, by) - keyOf(b, by)) * (isDown ? -1 : 1));
};

/** Quotes in which some are new: each of `moves` is a place and what follows the name there. */
export const moved = (quotes, moves) => {
  const rows = [...quotes];
  for (const [place, ...news] of moves) rows[place] = [rows[place][0], ...news];
  return rows;
};
