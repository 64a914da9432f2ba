import { setTimeout as wait } from 'node:timers/promises'
import type { Estate } from '../process/estate.ts'
import type { GatewayProcess } from '../support/process.ts'
import type { Asker } from './levels.ts'
import { type HoldingVendor, holdingText, send } from './load.ts'

/** Limits of calls at once, and what becomes of the slots of a gateway that is killed. */

/** Who was refused asks again after this. */
const againMs = 100
const pollMs = 20
/** For a limit to be used up, and for the slots of the dead to come back: a hold's term and a sweep, with time to spare. */
const patienceMs = 30_000
/** How long a full limit is looked at. */
const watchMs = 1_500

export interface Scene {
  readonly vendor: HoldingVendor
  readonly gateways: readonly GatewayProcess[]
  readonly limit: number
  /** Callers for each slot. */
  readonly times: number
}

export interface Filled {
  readonly asker: Asker
  /** Calls at once that the vendor has seen: when the limit was used up, and at most. */
  readonly held: number
  readonly most: number
  /** Until the limit was used up, ms; undefined where that never came about. */
  readonly ms: number | undefined
}

interface Crowd {
  readonly name: string
  readonly over: Promise<unknown>
  leave(): void
}

let crowds = 0

/** Callers who each want one call kept open, and ask again until they have it. */
function crowd(asker: Asker, { gateways, limit, times }: Scene): Crowd {
  const name = `${asker.level} ${asker.of} ${++crowds}`
  const leaving = new AbortController()
  const { signal } = leaving
  const caller = async (at: number): Promise<void> => {
    for (let round = at; !signal.aborted; round++) {
      const gateway = gateways[round % gateways.length]!
      const status = await send(asker, { gateway, text: holdingText(name), signal })
      if (status === 200) return
      await wait(againMs)
    }
  }
  const over = Promise.all(Array.from({ length: limit * times }, (_, at) => caller(at)))
  return { name, over, leave: () => leaving.abort() }
}

/** Fills a limit, holds it full, empties it, and fills it again: the second time is told. */
export async function fill(asker: Asker, scene: Scene): Promise<Filled> {
  const first = crowd(asker, scene)
  await full(first.name, scene)
  first.leave()
  scene.vendor.release(first.name)
  await first.over
  const second = crowd(asker, scene)
  const ms = await full(second.name, scene)
  await wait(watchMs)
  const { vendor } = scene
  const told = { held: vendor.held(second.name), most: Math.max(vendor.most(first.name), vendor.most(second.name)) }
  second.leave()
  vendor.release(second.name)
  await second.over
  return { asker, ...told, ms }
}

/** How long it takes until the limit is used up; undefined where it never is. */
async function full(name: string, { vendor, limit }: Scene): Promise<number | undefined> {
  const startMs = Date.now()
  while (Date.now() - startMs < patienceMs) {
    if (vendor.held(name) >= limit) return Date.now() - startMs
    await wait(pollMs)
  }
  return undefined
}

/** Has one gateway hold every slot of every limit, kills it, and sees how long it takes until others have them all. */
export async function killHolder(estate: Estate, askers: readonly Asker[], scene: Scene): Promise<readonly Filled[]> {
  const victim = estate.gateways.at(-1)!
  const living = scene.gateways.filter((gateway) => gateway !== victim)
  const doomed = askers.map((asker) => crowd(asker, { ...scene, gateways: [victim], times: 1 }))
  for (const { name } of doomed) {
    if ((await full(name, scene)) === undefined) throw new Error(`${name} was never full on one gateway`)
  }
  await victim.kill('SIGKILL')
  for (const each of doomed) each.leave()
  await Promise.all(doomed.map(({ over }) => over))
  return Promise.all(
    askers.map(async (asker) => {
      const heirs = crowd(asker, { ...scene, gateways: living, times: 2 })
      const ms = await full(heirs.name, scene)
      const told = { asker, held: scene.vendor.held(heirs.name), most: scene.vendor.most(heirs.name), ms }
      heirs.leave()
      scene.vendor.release(heirs.name)
      await heirs.over
      return told
    }),
  )
}
