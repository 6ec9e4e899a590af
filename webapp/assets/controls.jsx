// Choices at the top of the page: symbol, time zone, theme.
import { useEffect, useId, useRef, useState } from "react";
import { isSymbol, search } from "$/public/lists.js";
import { exchangeZone, keep, theme, useValue, zone } from "$/public/store.js";

/** A search box over the symbols; any symbol can be typed in. `isCut`: there are more than those. */
export function SymbolPicker({ symbols, isCut, symbol, onPick }) {
  const id = useId();
  const [text, setText] = useState(null); // null: not being searched
  const [at, setAt] = useState(null); // null: nothing typed, no arrow used
  const list = useRef(null);
  const known = useRef(symbols);
  if (at === null) known.current = symbols; // while one is chosen none may take its place
  const found = text === null ? [] : search(known.current, text, isCut);
  const isRefused = found.length === 0 && Boolean(text?.trim()) && !isSymbol(text.trim());
  const pick = (name) => {
    setText(null);
    if (name && name !== symbol) onPick(name);
  };
  const onKeyDown = (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (text === null) setText("");
      setAt((now) => (now === null ? 0 : Math.max(0, Math.min(found.length - 1, now + (event.key === "ArrowDown" ? 1 : -1)))));
    } else if (event.key === "Enter") {
      if (isRefused) return;
      pick(at === null ? null : (found[at] ?? text.trim()));
      event.currentTarget.blur();
    } else if (event.key === "Escape") {
      setText(null);
      event.currentTarget.blur();
    }
  };
  useEffect(() => {
    if (at !== null) list.current.children[at]?.scrollIntoView({ block: "nearest" });
  }, [at]);
  return (
    <div className="picker">
      <input
        role="combobox"
        aria-label="Symbol"
        aria-invalid={isRefused}
        aria-errormessage={isRefused ? `${id}-refused` : undefined}
        aria-expanded={found.length > 0}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={found.length && at !== null ? `${id}-${at}` : undefined}
        autoComplete="off"
        spellCheck={false}
        placeholder="Symbol"
        value={text ?? symbol}
        onFocus={(event) => event.currentTarget.select()}
        onClick={() => text === null && (setText(""), setAt(null))}
        onChange={(event) => (setText(event.target.value), setAt(event.target.value.trim() ? 0 : null))}
        onKeyDown={onKeyDown}
        onBlur={() => (setText(null), setAt(null))}
      />
      {isRefused && (
        <p id={`${id}-refused`} className="refused" role="alert">
          No symbol: up to 32 letters, digits and _ . / : -
        </p>
      )}
      <ul ref={list} role="listbox" id={`${id}-list`} aria-label="Symbols" hidden={!found.length}>
        {found.map((name, i) => (
          <li
            key={name}
            id={`${id}-${i}`}
            role="option"
            aria-selected={i === at}
            onMouseDown={(event) => (event.preventDefault(), pick(name))}
          >
            {name}
          </li>
        ))}
      </ul>
    </div>
  );
}

export function ZoneChoice({ exchange }) {
  const chosen = useValue(zone);
  useEffect(() => exchangeZone.set(exchange), [exchange]);
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <select aria-label="Time zone" value={chosen} onChange={(event) => keep(zone, "zone", event.target.value)}>
      <option value="exchange">{exchange.split("/").at(-1).replace("_", " ")} (exchange)</option>
      <option value="viewer">{own.split("/").at(-1).replace("_", " ")} (here)</option>
      <option value="utc">UTC</option>
    </select>
  );
}

export function ThemeChoice() {
  const chosen = useValue(theme);
  const other = chosen === "dark" ? "light" : "dark";
  return (
    <button type="button" className="icon" aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`} onClick={() => keep(theme, "theme", other)}>
      {chosen === "dark" ? "☀" : "☾"}
    </button>
  );
}
