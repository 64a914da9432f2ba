import type { Catalog } from '../core/catalog.ts'
import { isObject, parseJson } from '../core/wire.ts'
import { readSighting, type Sighting } from '../route/sightings.ts'
import type { Router } from '../route/router.ts'
import type { Clock } from '../ports.ts'

/** Sightings that are told at once, and each second after that: what is beyond it every replica finds out alone. */
const burst = 100
const perSecond = 20
/** Of all that is known so many are told to a replica that has just come. */
const answerLimit = 50

/** What this replica and the others tell each other of vendors. Whoever hears nothing decides alone. */
export interface Peers {
  /** From now on the others hear of what is seen here. */
  join(tell: (text: string) => void): void
  /** Takes in what one of the others has told; what it does not know is passed over. */
  hear(text: string): void
  /** From now on the others are heard: asks them for what they know. */
  listening(): void
}

export interface PeersOptions {
  readonly router: Pick<Router, 'watch' | 'hear' | 'sightings'>
  readonly clock: Pick<Clock, 'elapsed'>
  /** Names this one: what it has told itself it does not take in. */
  readonly replica: string
  catalog(): Catalog
}

interface State extends PeersOptions {
  tell: ((text: string) => void) | undefined
  /** Sightings that may be told now, and of when that is. */
  saved: number
  atMs: number
}

export function openPeers(options: PeersOptions): Peers {
  const { router, clock, catalog } = options
  const state: State = { ...options, tell: undefined, saved: burst, atMs: clock.elapsed() }
  router.watch((sighting) => tell(state, sighting))
  return {
    join(told) {
      state.tell = told
    },
    hear(text) {
      const { from, seen } = readMessage(text)
      if (from === undefined || from === state.replica) return
      if (seen === 'ask') for (const one of router.sightings(catalog()).slice(0, answerLimit)) tell(state, one)
      else if (seen) router.hear(seen, catalog())
    },
    listening: () => state.tell?.(JSON.stringify({ from: state.replica, seen: null })),
  }
}

function tell(state: State, sighting: Sighting): void {
  if (!state.tell || !spend(state)) return
  state.tell(JSON.stringify({ from: state.replica, seen: sighting }))
}

function spend(state: State): boolean {
  const nowMs = state.clock.elapsed()
  state.saved = Math.min(burst, state.saved + ((nowMs - state.atMs) / 1_000) * perSecond)
  state.atMs = nowMs
  if (state.saved < 1) return false
  state.saved -= 1
  return true
}

interface Message {
  readonly from?: string
  readonly seen?: Sighting | 'ask' | undefined
}

const encoder = new TextEncoder()

/** Who tells it, and what he has seen, or that he asks; nothing of what is none of ours. */
function readMessage(text: string): Message {
  const body = parseJson(encoder.encode(text))
  if (!isObject(body) || typeof body['from'] !== 'string') return {}
  const { from, seen } = body
  return { from, seen: seen === null ? 'ask' : readSighting(seen) }
}
