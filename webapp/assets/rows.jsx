// Rows of text as a table; moments in it are written in the chosen time zone.
import { exchangeZone, useValue, zone } from "$/public/store.js";
import { moment } from "$/public/format.js";

/** One moment. */
export function Moment({ text }) {
  useValue(zone);
  useValue(exchangeZone);
  return <>{moment(text)}</>;
}

/** `coloured` is the column that has a colour, whose name ends each row; -1: no column has one. */
export function Rows({ heads, rows, coloured, isPlain, empty }) {
  useValue(zone);
  useValue(exchangeZone);
  if (!rows.length) return <p className="empty">{empty}</p>;
  const cells = (row) => (coloured < 0 ? row : row.slice(0, -1));
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={`${heads[0]}, table`}>
      <table className={isPlain ? "plain" : ""}>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              {cells(row).map((cell, at) => (
                <td key={at} className={at === coloured ? `is ${row.at(-1)}` : undefined}>
                  {moment(cell)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
