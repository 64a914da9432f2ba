import type { UsageRecord } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import type { AccountRow, Books, KeyRow, Receipt } from '../ports.ts'

/** Records remembered for receipts; the oldest go first. */
const recordLimit = 1_000

export interface MemoryBooksOptions {
  readonly account: AccountRow
  readonly keys: readonly KeyRow[]
  readonly balance: Nanos
}

/**
 * Books of one account in this process's memory, gone with it: for a gateway at the edge that only tries things out,
 * and for warming the hot path up before the real books are asked. One wallet, numbered 1.
 */
export function memoryBooks({ account, keys, balance }: MemoryBooksOptions): Books {
  const records = new Map<string, UsageRecord>()
  const wallet = { id: 1, kind: 'wallet', asset: account.currency, models: [], expiresAtMs: undefined } as const
  let charged = 0n
  let epoch = 0

  function chainOf(key: KeyRow): KeyRow[] {
    const parent = keys.find(({ id }) => id === key.parentId)
    return parent ? [key, ...chainOf(parent)] : [key]
  }

  return {
    findKey(hash) {
      const key = keys.find((one) => one.hash === hash)
      return Promise.resolve(
        key && { chain: chainOf(key), account: key.accountId === account.id ? account : undefined },
      )
    },
    purses: () => Promise.resolve([{ ...wallet, posted: balance - charged }]),
    spent: () => Promise.resolve(0n),
    openEpoch: () => Promise.resolve(++epoch),
    epochOf: () => Promise.resolve(epoch),
    closeLeases: () => Promise.resolve(),
    closeFrozen: () => Promise.resolve(),
    beat: () => Promise.resolve(0),
    lend: () => Promise.resolve({ id: epoch, lent: balance }),
    flush(batch) {
      for (const record of batch) {
        if (!records.has(record.id)) charged += record.charge
        records.set(record.id, record)
        if (records.size > recordLimit) records.delete(records.keys().next().value ?? '')
      }
      return Promise.resolve(batch.map(({ id, charge }) => ({ id, total: charge })))
    },
    booked: (ids) =>
      Promise.resolve(
        ids.flatMap((id) => {
          const record = records.get(id)
          return record ? [{ id, total: record.charge }] : []
        }),
      ),
    balance: () => Promise.resolve({ posted: balance - charged }),
    receipt({ id }) {
      const record = records.get(id)
      return Promise.resolve(record && receiptOf(record))
    },
  }
}

function receiptOf(record: UsageRecord): Receipt {
  const { usage, prices, attempts } = record
  return {
    id: record.id,
    keyId: record.keyId,
    outcome: record.outcome,
    model: record.model,
    vendor: record.vendor,
    vendorModel: record.vendorModel,
    servedModel: record.servedModel,
    serviceTier: record.serviceTier,
    lengthTier: record.lengthTier,
    counts: usage.counts,
    source: usage.source,
    tokenizer: usage.tokenizer,
    anomalies: usage.anomalies ?? [],
    priced: record.priced,
    charge: record.charge,
    currency: prices.currency,
    stream: record.stream,
    startedAtMs: record.startedAtMs,
    endedAtMs: record.endedAtMs,
    firstByteMs: record.firstByteMs,
    finish: record.finish,
    error: record.error,
    clientRequestId: record.clientRequestId,
    attempts: attempts.map(({ vendor, model, status, error, startedAtMs, endedAtMs }) => ({
      vendor,
      model,
      status,
      error,
      ms: endedAtMs - startedAtMs,
    })),
  }
}
