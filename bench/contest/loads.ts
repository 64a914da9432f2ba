import type { Order } from './order.ts'
import { bodyOf, type Shape } from './wire.ts'

/** A load: which calls, and how they come. */
export interface Load extends Shape {
  readonly name: string
  readonly about: string
  /** What CPU is counted by. */
  readonly unit: 'call' | 'event'
  readonly connections: number
  /** Calls a second; absent for one call after another on each connection. */
  readonly rate?: number
  /** Between the first calls of two connections. */
  readonly staggerMs?: number
  /** How long a paced stream takes, in ms. */
  readonly streamMs?: number
  /** Each connection makes one call only. */
  readonly isOnce?: true
  /** Whether what is added to the vendor's own times is of interest: then the vendor is asked directly too. */
  readonly isTimed?: true
  /** Left out of a quick run. */
  readonly isLong?: true
}

const kb = 1_024

export const firstLoad: Load = {
  name: 'json-1k',
  about: 'JSON, 1 KB asked and 1 KB answered, 64 connections',
  unit: 'call',
  model: 'json-1024',
  promptBytes: kb,
  events: 0,
  connections: 64,
}

/** In the order of how much they matter: a run that has to end early has those that the ratios need. */
export const loads: readonly Load[] = [
  firstLoad,
  {
    name: 'paced-100',
    about: '100 streams at once, 100 events a second each',
    unit: 'event',
    model: 'stream-100-10000',
    promptBytes: kb,
    events: 100,
    connections: 100,
    staggerMs: 1,
    streamMs: 1_000,
    isTimed: true,
  },
  {
    name: 'stream-fast',
    about: 'streams of 200 events at full speed, 32 connections',
    unit: 'event',
    model: 'stream-200-0',
    promptBytes: kb,
    events: 200,
    connections: 32,
  },
  {
    name: 'rate-200',
    about: '200 calls a second of JSON 1 KB',
    unit: 'call',
    model: 'json-1024',
    promptBytes: kb,
    events: 0,
    connections: 64,
    rate: 200,
    isTimed: true,
  },
  {
    name: 'first-token',
    about: '50 streams of 20 events a second',
    unit: 'event',
    model: 'stream-20-0',
    promptBytes: kb,
    events: 20,
    connections: 32,
    rate: 50,
    isTimed: true,
  },
  {
    name: 'json-20k',
    about: 'JSON, 20 KB asked and 20 KB answered, 32 connections',
    unit: 'call',
    isLong: true,
    model: 'json-20480',
    promptBytes: 20 * kb,
    events: 0,
    connections: 32,
  },
  {
    name: 'prompt-200k',
    about: 'JSON, 200 KB asked and 1 KB answered, 16 connections',
    unit: 'call',
    isLong: true,
    model: 'json-1024',
    promptBytes: 200 * kb,
    events: 0,
    connections: 16,
  },
  {
    name: 'paced-2000',
    about: '2,000 streams at once, 5 events a second each',
    unit: 'event',
    isLong: true,
    model: 'stream-50-200000',
    promptBytes: kb,
    events: 50,
    connections: 2_000,
    staggerMs: 1,
    streamMs: 10_000,
    isOnce: true,
    isTimed: true,
  },
]

/** Every model that a load asks for. */
export const models = [...new Set(loads.map(({ model }) => model))]

/** The order to the load generator for one run of a load. */
export function orderOf(load: Load, durationMs: number): Omit<Order, 'id' | 'port' | 'headers'> {
  const { connections, rate = 0, staggerMs = 0, events } = load
  const callsEach = load.isOnce ? 1 : Number.MAX_SAFE_INTEGER
  return { body: bodyOf(load), isStream: events > 0, connections, rate, durationMs, callsEach, staggerMs }
}
