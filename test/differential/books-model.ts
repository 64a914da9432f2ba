import { recordKinds } from '../../src/db/schema.ts'
import { modelBooks } from '../sim/model-books.ts'
import type { ModelState } from '../sim/model-state.ts'
import type { Side, SideClock, SidePurse, SideState } from './books-side.ts'

/** The books in plain TypeScript, as the simulation has them, for one history. */
export function modelSide(clock: SideClock): Side {
  const books = modelBooks({ now: () => clock.nowMs })
  const { state } = books
  return {
    name: 'the model',
    books,
    newPayers: async (creditLimits) =>
      creditLimits.map((creditLimit, at) => {
        const accountId = at + 1
        books.addAccount({ id: accountId, currency: 'USD', discountPpm: 1_000_000, status: 'open' }, 0n, creditLimit)
        const [master, sub] = [accountId * 10, accountId * 10 + 1]
        books.addKey(keyRow(master, accountId, undefined))
        books.addKey(keyRow(sub, accountId, master))
        return { accountId, keys: [master, sub] }
      }),
    async addQuota({ ref: _, ...quota }) {
      books.addQuota(quota)
    },
    pay: async (payment) => books.pay(payment),
    grant: async (wanted) => books.grant(wanted),
    voidGrant: async (accountId, id) => books.voidGrant(accountId, id),
    endGrants: async () => books.endGrants(),
    refund: async (wanted) => books.refund(wanted),
    wallet: async (accountId) => books.wallet(accountId),
    rollup: async () => books.rollup(),
    purses: async () => pursesOf(state),
    state: async () => stateOf(state),
    faults: async () => books.violations(() => 2n ** 70n),
    close: async () => {},
  }
}

function keyRow(id: number, accountId: number, parentId: number | undefined) {
  const limits = { models: undefined, budgets: [], requestsPerMinute: undefined, concurrency: undefined }
  const times = { expiresAtMs: undefined, revokedAtMs: undefined }
  const kind = parentId === undefined ? ('master' as const) : ('sub' as const)
  return { id, publicId: '', kind, accountId, parentId, name: '', hash: '', version: 1, ...limits, ...times }
}

function pursesOf({ purses }: ModelState): readonly SidePurse[] {
  return [...purses.values()].map(({ id, accountId, asset, grant }) => ({
    id,
    accountId,
    asset,
    grantId: grant?.id ?? null,
  }))
}

function stateOf(state: ModelState): SideState {
  const ids = [...state.rows.keys()].sort()
  return {
    purses: [...state.purses.values()].map(({ id, accountId, kind, asset, grant, posted, free }) => ({
      id,
      accountId,
      asset,
      grantId: grant?.id ?? null,
      kind,
      posted: `${posted}`,
      free: `${free}`,
      deferred: `${grant?.deferred ?? 0n}`,
      isVoided: grant?.voidedAtMs !== undefined,
      isClosed: grant?.closedAtMs !== undefined,
    })),
    leases: state.leases.map(({ id, purse, spender, epoch, amount, consumed, state: at }) => ({
      id,
      purse,
      spender,
      epoch,
      amount: `${amount}`,
      consumed: `${consumed}`,
      state: at,
    })),
    rows: ids.flatMap((id) =>
      (state.rows.get(id) ?? []).map(({ seq, kind, charge, priced, input, output, parts }) => ({
        id,
        seq,
        kind: recordKinds[kind],
        charge: `${charge}`,
        priced: `${priced}`,
        input: `${input}`,
        output: `${output}`,
        parts: parts.map(({ purse, lease, amount }) => ({ purse, lease, amount: `${amount}` })),
      })),
    ),
    hours: [...state.hours].map(([name, { n, input, output, charge, cost }]) => {
      const [account = '', key = '', model = '', vendor = '', hour = '', currency = ''] = name.split('|')
      const [accountId, keyId, hourMs] = [account, key, hour].map((text) => Number.parseInt(text, 10))
      const sums = [n, input, output, charge, cost].join(' ')
      return { account: accountId ?? 0, key: keyId ?? 0, model, vendor, hourMs: hourMs ?? 0, currency, sums }
    }),
  }
}
