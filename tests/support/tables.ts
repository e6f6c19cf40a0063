/** Prints tables that are readable as text and valid as Markdown. */

const MAX_CELL_LENGTH = 60;

/** One row per record. Columns of numbers are aligned right. */
export function toTable(
  rows: Record<string, string | number>[],
  columns: string[] = Object.keys(rows[0] ?? {}),
): string {
  const cells = rows.map((row) => columns.map((column) => toCell(row[column])));
  const isNumeric = columns.map((column) =>
    rows.every((row) => typeof row[column] !== "string" || row[column] === ""),
  );
  const widths = columns.map((column, index) =>
    Math.max(column.length, 3, ...cells.map((row) => row[index]?.length ?? 0)),
  );
  const toLine = (line: string[]) =>
    `| ${line.map((cell, index) => pad(cell, widths[index] ?? 0, isNumeric[index])).join(" | ")} |`;
  const rule = widths.map((width, index) =>
    isNumeric[index] ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
  );
  return [columns, rule, ...cells].map(toLine).join("\n");
}

function toCell(value: string | number | undefined): string {
  // Text from lu.ma may contain line breaks, which would end the row, and control characters, which a terminal obeys.
  const text =
    typeof value === "number"
      ? value.toLocaleString("en-US")
      : (value ?? "").replace(/[\s\p{Cc}]+/gu, " ").trim();
  return text.length > MAX_CELL_LENGTH ? `${text.slice(0, MAX_CELL_LENGTH - 1)}…` : text;
}

function pad(cell: string, width: number, isNumeric = false): string {
  return isNumeric ? cell.padStart(width) : cell.padEnd(width);
}
