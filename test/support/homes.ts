import { openHomes, type Homes } from '../../src/ledger/homes.ts'
import type { Spender } from '../../src/ledger/spender.ts'
import type { Shared } from '../../src/ports.ts'

/** One home over a store, for what is tested beside the spending: whoever asks its spender fails. */
export function homesOf(shared: Shared): Homes {
  const nobody = new Proxy({} as Spender, {
    get(_, name) {
      throw new Error(`nobody spends here, and ${String(name)} was asked for`)
    },
  })
  return openHomes({ shared, spender: nobody })
}
