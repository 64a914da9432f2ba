import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Conversation } from '../support/conversation.ts'
import type { Told } from '../support/tales.ts'
import { exposureOf } from './exposure.ts'
import type { Fault } from './faults.ts'
import type { Settled } from './settle-up.ts'
import { type Booked, judge, type Verdict } from './truth.ts'
import { checkpointMs, type Played, prices, type Seen, type World } from './world.ts'

const tickMs = 250
/** Between a gateway's clock and that of the callers, on a machine that all share. */
const lagMs = 250

/** The figures of a run. Money in nano-units. */
export interface Report {
  readonly faults: Readonly<Record<string, number>>
  readonly starts: number
  readonly calls: number
  /** Whole answers. */
  readonly served: number
  /** By the code of the error. */
  readonly refused: Readonly<Record<string, number>>
  /** All other endings. */
  readonly endings: Readonly<Record<string, number>>
  readonly deliveredTokens: number
  readonly charged: bigint
  /** Of calls whose gateway was killed, and the worst of them. */
  readonly unbilled: bigint
  readonly unbilledCalls: number
  readonly worstUnbilled: bigint
  readonly worstUnbilledMs: number
  /** Of those whose gateway was killed while Redis was away or had lost its data. */
  readonly exposed: bigint
  readonly exposedCalls: number
  readonly lostAnswers: number
  /** Charged when another gateway had ended the call already. */
  readonly late: bigint
  readonly lateCalls: number
  readonly worstOverdraft: bigint
  readonly overcharges: number
  readonly doubleCharges: number
  readonly driftOver: bigint
  readonly driftUnder: bigint
  readonly settledMs: number
  /** All that is not as it must be, in words. */
  readonly breaches: readonly string[]
  /** The folder of what is needed to look into them. */
  readonly evidence?: string
}

interface Findings extends Played, Settled {
  readonly told: ReadonlyMap<number, Told>
}

interface Judged extends Verdict {
  readonly call: Seen
  readonly rows: readonly Booked[]
  readonly isExposed: boolean
}

/** Holds every call against the books. */
export function report(world: World, findings: Findings): Report {
  const { seen, faults, booked, endless } = findings
  const { judged, owned } = judgeAll(world, findings)
  const strangers = booked.filter(({ id, charge }) => charge > 0n && !owned.has(id))
  const unbilled = judged.filter(({ unbilled: amount, isExposed }) => amount > 0n && !isExposed)
  const exposed = judged.filter(({ unbilled: amount, isExposed }) => amount > 0n && isExposed)
  const late = booked.filter(({ isLate }) => isLate === true)
  return {
    faults: countBy(faults.map(({ kind }) => kind)),
    starts: world.installation.gateways.reduce((total, { starts }) => total + starts, 0),
    calls: seen.length,
    served: seen.filter(({ conversation: { parting } }) => parting === 'whole').length,
    refused: countBy(
      seen.flatMap(({ conversation: { parting, code } }) => (parting === 'refused' ? [code ?? '?'] : [])),
    ),
    endings: countBy(seen.flatMap(({ conversation }) => endingOf(conversation) ?? [])),
    deliveredTokens: judged.reduce((total, { delivered }) => total + delivered, 0),
    charged: sum(judged.map(({ charge }) => charge)),
    unbilled: sum(unbilled.map((one) => one.unbilled)),
    unbilledCalls: unbilled.length,
    worstUnbilled: unbilled.reduce((most, one) => (one.unbilled > most ? one.unbilled : most), 0n),
    worstUnbilledMs: Math.max(0, ...unbilled.map(({ unbilledMs }) => unbilledMs)),
    exposed: sum(exposed.map((one) => one.unbilled)),
    exposedCalls: exposed.length,
    lostAnswers: judged.filter(({ isLostAnswer }) => isLostAnswer).length,
    late: sum(late.map((row) => row.late ?? 0n)),
    lateCalls: late.length,
    worstOverdraft: findings.worstOverdraft,
    overcharges: judged.filter(({ over }) => over > 0n).length + strangers.length,
    doubleCharges: judged.filter(({ isTwice }) => isTwice).length,
    driftOver: findings.driftOver,
    driftUnder: findings.driftUnder,
    settledMs: findings.settledMs,
    breaches: [
      ...findings.complaints,
      ...findings.breaches,
      ...(endless === 0 ? [] : [`${endless} calls never came to an end`]),
      ...judged.flatMap((one) => (one.breach === undefined ? [] : [tellBreach(one, faults)])),
      ...strangers.map(({ id, charge }) => `nobody made call ${id}, which was charged ${charge}`),
    ],
  }
}

function judgeAll({ promptTokens }: World, { seen, faults, told, booked }: Findings) {
  const judging = { prices, promptTokens, unbilledMs: checkpointMs + tickMs + lagMs }
  const byId = Map.groupBy(booked, ({ id }) => id)
  const byName = Map.groupBy(booked, ({ name }) => name ?? '')
  const owned = new Set<string>()
  const judged = seen.map((call): Judged => {
    const { conversation, name, tale } = call
    const rows = [...new Set([...(byId.get(conversation.id) ?? []), ...(byName.get(name) ?? [])])]
    for (const { id } of rows) owned.add(id)
    const exposure = exposureOf(faults, call)
    const verdict = judge(judging, { ...call, told: told.get(tale.n), ...exposure }, rows)
    return { ...verdict, call, rows, isExposed: exposure.isExposed }
  })
  return { judged, owned }
}

/** Undefined for what was served or refused. */
function endingOf({ parting, status, code }: Conversation): string | undefined {
  if (parting === 'whole' || parting === 'refused') return undefined
  if (parting === 'broken' && status === 0) return 'not answered'
  return code === undefined ? parting : `${parting} ${code}`
}

/** A breach with all that happened to the call, in seconds of the run. */
function tellBreach({ call, breach, rows, delivered }: Judged, faults: readonly Fault[]): string {
  const { name, gateway, account, conversation, tale, stream, fromMs, toMs } = call
  const around = faults.filter((fault) => fault.fromMs <= toMs + aroundMs && fault.toMs >= fromMs - aroundMs)
  const at = (ms: number) => (ms / 1_000).toFixed(2)
  return [
    `${name} ${conversation.id}: ${breach}`,
    `    ${stream ? 'streamed' : 'not streamed'} by gateway ${gateway} for account ${account}, ${at(fromMs)} to ${at(toMs)} s`,
    `    ${conversation.parting} ${conversation.status} ${conversation.code ?? ''}, ${delivered} of ${tale.words} words`,
    ...rows.map(({ id, outcome, charge, late = 0n }) => `    booked ${id}: ${outcome}, ${charge}, of it late ${late}`),
    ...around.map(({ kind, at: of, fromMs: from, toMs: to }) => `    ${kind} ${of ?? ''} ${at(from)} to ${at(to)} s`),
  ].join('\n')
}

/** Faults so long before and after a call are told with it. */
const aroundMs = 30_000

/** Writes the calls, the faults and what the gateways have logged to a folder that stays, and gives its name. */
export function keepEvidence(
  { installation }: World,
  { seen, faults, told }: Pick<Findings, 'seen' | 'faults' | 'told'>,
): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-crash-evidence-'))
  const lines = (values: readonly object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')
  const withoutText = ({ conversation: { text, arrivals, ...rest }, ...call }: Seen) => {
    return { ...call, conversation: { ...rest, words: text.split(' ').length - 1, arrivals: arrivals.length } }
  }
  writeFileSync(join(folder, 'calls.jsonl'), lines(seen.map(withoutText)))
  writeFileSync(join(folder, 'told.jsonl'), lines([...told.values()]))
  // Of the run's clock, and of the logs'.
  writeFileSync(join(folder, 'faults.jsonl'), lines([{ startedAtMs: performance.timeOrigin }, ...faults]))
  for (const [at, gateway] of installation.gateways.entries())
    writeFileSync(join(folder, `gateway-${at}.log`), gateway.log())
  return folder
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n)
}
