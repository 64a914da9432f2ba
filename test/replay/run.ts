import { isDeepStrictEqual } from 'node:util'
import type { Dialect, JsonObject } from '../../src/core/call.ts'
import type { Receipt } from '../../src/ports.ts'
import { checkCounted, checkReceipt, checkSent, tokensIn, type Due } from './checks.ts'
import type { CutLimit } from './cuts.ts'
import { rememberedCalls, type CallerAnswer, type ReplayGateway } from './gateway.ts'
import type { Entry } from './manifest.ts'
import type { Reading } from './reader.ts'
import type { ReceivedRequest, RecordedVendor } from './recorded-vendor.ts'

export interface Recording {
  readonly entry: Entry
  readonly request: Uint8Array
  readonly response: Uint8Array
  /** The request, parsed, and the model that it names. */
  readonly asked: JsonObject
  readonly model: string
}

/** What an entry is replayed with. */
export interface Bench {
  readonly gateway: ReplayGateway
  readonly vendor: RecordedVendor
  readonly cuts?: CutLimit
  /** What the vendor speaks. */
  readonly speaks: readonly Dialect[]
}

const contentTypes = {
  json: 'application/json',
  sse: 'text/event-stream',
  ndjson: 'application/x-ndjson',
  eventstream: 'application/vnd.amazon.eventstream',
} as const

/** An entry with so many differences is given up. */
const enough = 5
const encoder = new TextEncoder()

export interface Asking {
  /** What this call is about, for the report. */
  readonly label: string
  /** The recorded request where absent. */
  readonly body?: JsonObject
  readonly pieces?: readonly Uint8Array[]
  readonly isSlow?: boolean
  /** Where the gateway is asked; for a chat completion where absent. */
  readonly path?: string
  /** What is wrong with what reached the vendor; where absent it must be the caller's own request. */
  readonly sent?: (requests: readonly ReceivedRequest[]) => readonly string[]
  /** The gateway itself may refuse it, so that the vendor never hears of it. */
  readonly mayBeRefused?: boolean
}

/** `reached`: the vendor was asked. */
export interface Answer extends CallerAnswer {
  readonly reached: boolean
}

interface Made {
  readonly label: string
  readonly id: string
  readonly due: Due
  readonly reading: Reading | undefined
}

/** The calls of one entry, and what differed. */
export class Run {
  readonly bench: Bench
  readonly recording: Recording
  readonly differences: string[] = []
  #made: Made[] = []
  #balance: bigint | undefined
  /** What the first local count of the entry was: all others must be the same. */
  #counted: unknown

  constructor(bench: Bench, recording: Recording) {
    this.bench = bench
    this.recording = recording
  }

  note(label: string, differences: readonly string[]): void {
    this.differences.push(...differences.map((difference) => `${label}: ${difference}`))
  }

  get isHopeless(): boolean {
    return this.differences.length >= enough
  }

  /** Sends a call to the gateway whose vendor repeats the recording, and checks what reached the vendor. */
  async ask({ label, body, pieces, isSlow = false, path, sent: check, mayBeRefused = false }: Asking): Promise<Answer> {
    const { gateway, vendor } = this.bench
    const { entry, request, response, asked, model } = this.recording
    this.#balance ??= await gateway.balance()
    const type = contentTypes[entry.response_format]
    const headers = { 'content-type': type, ...entry.response_headers }
    vendor.play({ status: entry.status, headers, pieces: pieces ?? [response], isSlow })
    const answer = await gateway.ask(body ? encoder.encode(JSON.stringify(body)) : request, path)
    const sent = vendor.received()
    const reached = sent.length > 0
    if (reached || !mayBeRefused) this.note(label, check ? check(sent) : checkSent(sent, body ?? asked, model))
    return { ...answer, reached }
  }

  /** Remembers a call whose receipt is checked by `settle`. */
  async made(call: Omit<Made, 'id'>, { headers }: CallerAnswer): Promise<void> {
    const id = headers['x-request-id']
    if (typeof id !== 'string') return this.note(call.label, ['the answer has no x-request-id'])
    this.#made.push({ ...call, id })
    if (this.#made.length >= rememberedCalls) await this.settle()
  }

  /** Checks what the books have: each receipt, that nothing is held, and that the balance fell by the charges. */
  async settle(): Promise<void> {
    const { gateway } = this.bench
    const calls = this.#made
    this.#made = []
    this.note('after', await gateway.settled())
    let total = 0n
    for (const call of calls) {
      const receipt = await gateway.receipt(call.id)
      if (receipt) this.#checkReceipt(call, receipt)
      else this.note(call.label, ['the books have no receipt'])
      total += receipt?.charge ?? 0n
    }
    const before = this.#balance ?? 0n
    this.#balance = await gateway.balance()
    if (before - this.#balance !== total)
      this.note('after', [`the balance fell by ${before - this.#balance}, the receipts say ${total}`])
  }

  #checkReceipt({ label, due, reading }: Made, receipt: Receipt): void {
    this.note(label, checkReceipt(receipt, due))
    if (due.tokens || !reading) return
    this.note(label, checkCounted(receipt, reading))
    const counted = tokensIn(receipt)
    this.#counted ??= counted
    if (!isDeepStrictEqual(counted, this.#counted)) this.note(label, ['the local count is not that of the first call'])
  }
}
