import { table } from '../../test/support/table.ts'
import type { Name } from './contestants.ts'
import type { Load } from './loads.ts'
import { median } from './order.ts'
import type { Sample } from './run.ts'

/** How contestants compare: medians over the rounds of what two of them took in the same round. */
export interface Ratios {
  /** CPU of a call of JSON 1 KB. */
  readonly embedded_json_vs_bare: number | null
  /** CPU of an event of paced streams. */
  readonly embedded_stream_vs_bare: number | null
  readonly scaled_json_vs_bare: number | null
  readonly portkey_vs_embedded_json: number | null
}

type Cost = (sample: Sample) => number | undefined

/** Instructions where all were counted, because they hang little on what else the machine does; else time. */
export function costOf(samples: readonly Sample[]): { readonly cost: Cost; readonly unit: 'instructions' | 'cpu_us' } {
  const proxied = samples.filter(({ name }) => name !== 'direct')
  return proxied.length > 0 && proxied.every(({ instructions }) => instructions !== undefined)
    ? { cost: (sample) => sample.instructions, unit: 'instructions' }
    : { cost: (sample) => sample.cpuUs, unit: 'cpu_us' }
}

export interface Pair {
  readonly of: Name
  readonly to: Name
  readonly load: string
}

/** Undefined where no round has both. */
export function ratio(samples: readonly Sample[], { of, to, load }: Pair): number | undefined {
  const { cost } = costOf(samples)
  const here = samples.filter((sample) => sample.load.name === load)
  return median(
    here
      .filter(({ name }) => name === of)
      .flatMap((sample) => {
        const other = here.find(({ name, round }) => name === to && round === sample.round)
        const [a, b] = [cost(sample), other && cost(other)]
        return a === undefined || b === undefined || b === 0 ? [] : [a / b]
      }),
  )
}

export function ratiosOf(samples: readonly Sample[]): Ratios {
  const of = (one: Name, to: Name, load: string) => rounded(ratio(samples, { of: one, to, load })) ?? null
  return {
    embedded_json_vs_bare: of('embedded', 'bare', 'json-1k'),
    embedded_stream_vs_bare: of('embedded', 'bare', 'paced-100'),
    scaled_json_vs_bare: of('scaled', 'bare', 'json-1k'),
    portkey_vs_embedded_json: of('portkey', 'embedded', 'json-1k'),
  }
}

function rounded(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value * 1_000) / 1_000
}

/** The medians of one contestant under one load. */
export interface Row {
  readonly contestant: Name
  readonly load: string
  readonly unit: Load['unit']
  readonly runs: number
  readonly calls: number
  readonly calls_per_second: number | undefined
  readonly cpu_us: number | undefined
  readonly instructions: number | undefined
  readonly cost_vs_bare: number | undefined
  readonly p50_ms: number | undefined
  readonly p99_ms: number | undefined
  readonly added_p50_ms: number | undefined
  readonly added_p99_ms: number | undefined
  readonly first_byte_p50_ms: number | undefined
  readonly added_first_byte_p50_ms: number | undefined
  readonly event_delay_p50_ms: number | undefined
  readonly event_delay_p99_ms: number | undefined
  readonly loop_p99_ms: number | undefined
  readonly loop_longest_ms: number | undefined
  readonly rss_before_mb: number | undefined
  readonly rss_peak_mb: number | undefined
  readonly kb_per_stream: number | undefined
}

const value = {
  p50: ({ figures }: Sample) => ms(figures.latencyUs?.p50),
  p99: ({ figures }: Sample) => ms(figures.latencyUs?.p99),
  first: ({ figures }: Sample) => ms(figures.firstUs?.p50),
}

function ms(us: number | undefined): number | undefined {
  return us === undefined ? undefined : us / 1_000
}

function rowOf(samples: readonly Sample[], name: Name, load: Load): Row {
  const ours = samples.filter((sample) => sample.name === name && sample.load.name === load.name)
  const middle = (of: (sample: Sample) => number | undefined) =>
    rounded(median(ours.map(of).filter((one) => one !== undefined)))
  const added = (of: (sample: Sample) => number | undefined) =>
    middle((sample) => {
      const direct = samples.find(
        (one) => one.name === 'direct' && one.load.name === load.name && one.round === sample.round,
      )
      const [with_, without] = [of(sample), direct && of(direct)]
      return name === 'direct' || with_ === undefined || without === undefined ? undefined : with_ - without
    })
  return {
    contestant: name,
    load: load.name,
    unit: load.unit,
    runs: ours.length,
    calls: ours.reduce((sum, { figures }) => sum + figures.calls, 0),
    calls_per_second: middle(({ figures }) => (figures.calls * 1_000) / figures.tookMs),
    cpu_us: middle((sample) => sample.cpuUs),
    instructions: middle((sample) => sample.instructions),
    cost_vs_bare: rounded(ratio(samples, { of: name, to: 'bare', load: load.name })),
    p50_ms: middle(value.p50),
    p99_ms: middle(value.p99),
    added_p50_ms: added(value.p50),
    added_p99_ms: added(value.p99),
    first_byte_p50_ms: middle(value.first),
    added_first_byte_p50_ms: added(value.first),
    event_delay_p50_ms: middle(({ figures }) => ms(figures.delayUs?.p50)),
    event_delay_p99_ms: middle(({ figures }) => ms(figures.delayUs?.p99)),
    loop_p99_ms: middle(({ loopMs }) => loopMs?.p99),
    loop_longest_ms: middle(({ loopMs }) => loopMs?.most),
    rss_before_mb: middle((sample) => sample.beforeMb),
    rss_peak_mb: middle((sample) => sample.peakMb),
    kb_per_stream: load.isOnce
      ? middle(({ beforeMb, peakMb }) =>
          beforeMb === undefined || peakMb === undefined ? undefined : ((peakMb - beforeMb) * 1_024) / load.connections,
        )
      : undefined,
  }
}

export function rowsOf(samples: readonly Sample[], loads: readonly Load[], names: readonly Name[]): readonly Row[] {
  return loads.flatMap((load) => names.map((name) => rowOf(samples, name, load))).filter(({ runs }) => runs > 0)
}

const columns: readonly (readonly [string, (row: Row) => string])[] = [
  ['contestant', (row) => row.contestant],
  ['calls', (row) => String(row.calls)],
  ['calls/s', (row) => print(row.calls_per_second, 0)],
  ['CPU µs', (row) => print(row.cpu_us, 1)],
  ['kI', (row) => print(row.instructions === undefined ? undefined : row.instructions / 1_000, 1)],
  ['× bare', (row) => print(row.cost_vs_bare, 2)],
  ['p50 ms', (row) => print(row.p50_ms, 2)],
  ['p99', (row) => print(row.p99_ms, 2)],
  ['added p50', (row) => print(row.added_p50_ms, 2)],
  ['added p99', (row) => print(row.added_p99_ms, 2)],
  ['first byte p50', (row) => print(row.first_byte_p50_ms, 2)],
  ['added first', (row) => print(row.added_first_byte_p50_ms, 2)],
  ['event delay p50', (row) => print(row.event_delay_p50_ms, 2)],
  ['delay p99', (row) => print(row.event_delay_p99_ms, 2)],
  ['loop p99 ms', (row) => print(row.loop_p99_ms, 1)],
  ['longest', (row) => print(row.loop_longest_ms, 1)],
  ['RSS before MB', (row) => print(row.rss_before_mb, 0)],
  ['RSS peak', (row) => print(row.rss_peak_mb, 0)],
  ['KB a stream', (row) => print(row.kb_per_stream, 1)],
]

function print(figure: number | undefined, digits: number): string {
  return figure === undefined ? '' : figure.toFixed(digits)
}

/** A table for each load; columns in which nothing stands are left out. */
export function printTables(rows: readonly Row[], loads: readonly Load[]): string {
  return loads
    .flatMap((load) => {
      const here = rows.filter((row) => row.load === load.name)
      const shown = columns.filter(([, of]) => here.some((row) => of(row) !== ''))
      const body = here.map((row) => shown.map(([, of]) => of(row)))
      const heads = shown.map(([head]) => head)
      return here.length === 0
        ? []
        : [
            `${load.name}: ${load.about}; CPU of ${load.unit === 'event' ? 'an event' : 'a call'}\n${table(heads, body)}\n`,
          ]
    })
    .join('\n')
}
