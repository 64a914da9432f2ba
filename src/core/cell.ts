/** The records of an account live in one of so many cells, each of which is one hash slot of a Redis cluster. */
export const cellCount = 1_024

/** The cell of an account, 0 to 1,023. It never changes: the loans of the books are lent to cells by name. */
export function cellOf(accountId: number): number {
  // The finaliser of MurmurHash3: neighbouring ids land far apart. Both halves of an id above 2^32 count.
  let hash = (accountId % 2 ** 32) ^ Math.floor(accountId / 2 ** 32)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % cellCount
}

/** The cell of a text, such as the id of a limit over accounts: FNV-1a, and then as for an account. */
export function cellOfText(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return cellOf(hash >>> 0)
}

/** Who spends for the accounts of a cell in Redis, as the books name it. */
export function spenderOfCell(cell: number): string {
  return `redis:v${cell}`
}

/** The cell of such a spender; undefined for the name of another kind of spender. */
export function cellOfSpender(spender: string): number | undefined {
  const digits = /^redis:v(\d{1,4})$/.exec(spender)?.[1]
  const cell = digits === undefined ? cellCount : Number(digits)
  return cell < cellCount ? cell : undefined
}

/** What a cluster hashes of every name of the cell, so that one script may touch all of them. */
export function tagOf(cell: number): string {
  return `v${cell}`
}

/** The names of a cell's records. */
export const cellKeys = {
  /** The server's run id and the epoch that hold for the cell. */
  mark: (cell: number): string => `m:{${tagOf(cell)}}`,
  /** Deadlines of the holds. */
  deadlines: (cell: number): string => `d:{${tagOf(cell)}}`,
  account: (cell: number, accountId: number): string => `a:{${tagOf(cell)}}:${accountId}`,
  key: (cell: number, keyId: number): string => `k:{${tagOf(cell)}}:${keyId}`,
  hold: (cell: number, id: string): string => `h:{${tagOf(cell)}}:${id}`,
  /** A limit over accounts that is lent to replicas. */
  limit: (cell: number, id: string): string => `s:{${tagOf(cell)}}:${id}`,
} as const
