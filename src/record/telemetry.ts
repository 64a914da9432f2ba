import type { Outcome, UsageRecord } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'

/** Currencies told apart; an operator has a handful. */
const currencyLimit = 50

/** What is measured at the moment of asking. */
export interface Gauges {
  readonly holdsLive: number
  /** Records that are not in the books yet. */
  readonly batcherWaiting: number
  readonly booksFailing: boolean
  /** Servers of the shared records that do not answer; absent where nothing is shared. */
  readonly redisAway?: number
  /** What the process takes of its machine; absent where nobody can tell. */
  readonly process?: ProcessGauges
  /** Of our keys and targets at vendors; only what is not well. */
  readonly vendors?: VendorGauges
  /** Of the last comparison; absent before the first. */
  readonly reconciliation?: ReconciliationFigures | undefined
}

export interface VendorGauges {
  readonly keysParked: readonly { readonly vendor: string; readonly reason: string; readonly count: number }[]
  /** Targets whose circuit is not closed. */
  readonly targetsDown: readonly { readonly vendor: string; readonly count: number }[]
}

export interface ProcessGauges {
  readonly residentBytes: number
  readonly heapBytes: number
  readonly resources: number
  /** By how much the event loop was late since the figures were last asked for. */
  readonly delayP99Ms: number
  readonly delayMostMs: number
}

/** What the last comparison of the engine with the books has found. */
export interface ReconciliationFigures {
  readonly atMs: number
  readonly violations: number
  /** Nano-units that the engine would let be spent and the books do not have; and the other way round. */
  readonly over: Nanos
  readonly under: Nanos
  /** Accounts whose purses did not stand still long enough to be compared. */
  readonly busy: number
}

/** Counts what this process has done since it began. */
export interface Telemetry {
  /** A call has ended. `overflow`: what it was charged above all that was set aside. */
  ended(record: Pick<UsageRecord, 'outcome' | 'charge' | 'prices'>, overflow: Nanos): void
  /** Everything in Prometheus's text form. No label ever holds what a caller or a vendor sent. */
  print(gauges: Gauges): string
}

type Sample = readonly [labels: string, value: number | bigint]

export function openTelemetry(): Telemetry {
  const calls = new Map<Outcome, number>()
  const charged = new Map<string, Nanos>()
  const overflowed = new Map<string, Nanos>()

  return {
    ended({ outcome, charge, prices }, overflow) {
      calls.set(outcome, (calls.get(outcome) ?? 0) + 1)
      add(charged, prices.currency, charge)
      add(overflowed, prices.currency, overflow)
    },
    print(gauges) {
      const byOutcome = [...calls].map(([outcome, count]): Sample => [`{outcome="${outcome}"}`, count])
      return [
        counter('tollgate_calls_total', 'Calls that have ended, by outcome.', byOutcome),
        counter('tollgate_charged_nanos_total', 'Nano-units charged, by currency.', byCurrency(charged)),
        counter('tollgate_overflow_nanos_total', 'Nano-units charged above all holds.', byCurrency(overflowed)),
        gauge('tollgate_holds_live', 'Calls that hold money.', gauges.holdsLive),
        gauge('tollgate_batcher_waiting', 'Records that are not in the books yet.', gauges.batcherWaiting),
        gauge('tollgate_books_failing', '1 while the books refuse records.', gauges.booksFailing ? 1 : 0),
        ...(gauges.redisAway === undefined
          ? []
          : [gauge('tollgate_redis_away', 'Redis servers that do not answer.', gauges.redisAway)]),
        ...(gauges.process ? processed(gauges.process) : []),
        ...(gauges.vendors ? vendorsDown(gauges.vendors) : []),
        ...(gauges.reconciliation ? reconciled(gauges.reconciliation) : []),
      ].join('')
    },
  }
}

function processed(figures: ProcessGauges): readonly string[] {
  const { residentBytes, heapBytes, resources, delayP99Ms, delayMostMs } = figures
  const delay = 'By how much the event loop was late since the figures were last asked for.'
  return [
    gauge('tollgate_resident_bytes', 'Resident memory of the process.', residentBytes),
    gauge('tollgate_heap_bytes', 'JavaScript heap in use.', heapBytes),
    gauge('tollgate_resources', 'Sockets, timers and whatever else keeps the process busy.', resources),
    metric('tollgate_event_loop_delay_seconds', { type: 'gauge', help: delay }, [
      ['{quantile="0.99"}', delayP99Ms / 1_000],
      ['{quantile="1"}', delayMostMs / 1_000],
    ]),
  ]
}

function vendorsDown({ keysParked, targetsDown }: VendorGauges): readonly string[] {
  const parked = keysParked.map(({ vendor, reason, count }): Sample => [
    `{vendor="${vendor}",reason="${reason}"}`,
    count,
  ])
  const down = targetsDown.map(({ vendor, count }): Sample => [`{vendor="${vendor}"}`, count])
  const [keys, targets] = ['Our keys at vendors that are parked, by reason.', 'Targets whose circuit is not closed.']
  return [
    metric('tollgate_vendor_key_parked', { type: 'gauge', help: keys }, parked),
    metric('tollgate_targets_down', { type: 'gauge', help: targets }, down),
  ]
}

function reconciled({ atMs, violations, over, under, busy }: ReconciliationFigures): readonly string[] {
  const drift = 'Nano-units that the engine has above or below the books.'
  return [
    metric('tollgate_books_drift_nanos', { type: 'gauge', help: drift }, [
      ['{side="over"}', over],
      ['{side="under"}', under],
    ]),
    gauge('tollgate_books_violations', 'Places in the books where a rule does not hold.', violations),
    gauge('tollgate_books_busy_accounts', 'Accounts that could not be compared.', busy),
    gauge('tollgate_books_checked_timestamp_seconds', 'When the books were last compared.', Math.floor(atMs / 1000)),
  ]
}

function add(sums: Map<string, Nanos>, currency: string, amount: Nanos): void {
  const known = sums.has(currency) || sums.size < currencyLimit
  const name = known && /^[A-Z]{3}$/.test(currency) ? currency : 'other'
  sums.set(name, (sums.get(name) ?? 0n) + amount)
}

function byCurrency(sums: ReadonlyMap<string, Nanos>): readonly Sample[] {
  return [...sums].map(([currency, nanos]) => [`{currency="${currency}"}`, nanos])
}

function counter(name: string, help: string, samples: readonly Sample[]): string {
  return metric(name, { type: 'counter', help }, samples)
}

function gauge(name: string, help: string, value: number): string {
  return metric(name, { type: 'gauge', help }, [['', value]])
}

interface Metric {
  readonly type: 'counter' | 'gauge'
  readonly help: string
}

function metric(name: string, { type, help }: Metric, samples: readonly Sample[]): string {
  const lines = samples.map(([labels, value]) => `${name}${labels} ${value}\n`).join('')
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines}`
}
