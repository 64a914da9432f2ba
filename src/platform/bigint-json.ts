/** JSON in which a bigint is `{"$bigint":"digits"}`. Nothing of ours has a field of that name. */
export function printJson(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? { $bigint: `${each}` } : each))
}

/** Reads what `printJson` wrote. Throws SyntaxError for anything that is not JSON. */
export function parseJson(text: string): unknown {
  return JSON.parse(text, revive)
}

function revive(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('$bigint' in value)) return value
  return typeof value.$bigint === 'string' ? BigInt(value.$bigint) : value
}
