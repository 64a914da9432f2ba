/** PostgreSQL takes 65,535 parameters in a statement; no row of the catalog has more than ten. */
const rowsAtOnce = 1_000

/** A list in parts that fit into a statement each. */
export function* chunks<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let at = 0; at < items.length; at += rowsAtOnce) yield items.slice(at, at + rowsAtOnce)
}
