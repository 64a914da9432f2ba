import { WorkerEntrypoint } from 'cloudflare:workers'
import { parseJson, printJson } from '../../src/platform/bigint-json.ts'
import type { CellStub } from '../../src/platform/durable.ts'

export { LedgerCell } from '../../src/platform/durable-object.ts'

/** Runs inside the runtime: lets a test ask the objects of the ledger, each question as a worker would ask it. */
export default {
  async fetch(request: Request, { LEDGER }: Bindings): Promise<Response> {
    const { name, method, args } = parseJson(await request.text()) as Question
    const cell = LEDGER.get(LEDGER.idFromName(name))
    const answer = await (cell[method] as (...args: readonly unknown[]) => Promise<unknown>)(...args)
    return new Response(answer === undefined ? '' : printJson(answer))
  },
}

/** Takes what is due for an hour, and stops its accounts: that shows. */
export class LedgerSweeper extends WorkerEntrypoint<unknown, Bindings> {
  async sweep(spender: string): Promise<void> {
    const cell = this.env.LEDGER.get(this.env.LEDGER.idFromName(spender))
    const { holds } = await cell.claim({ limit: 10, hideMs: 3_600_000 })
    for (const { facts } of holds) await cell.run({ command: { type: 'stop', accountId: facts.accountId } })
  }
}

interface Question {
  readonly name: string
  readonly method: keyof CellStub
  readonly args: readonly unknown[]
}

interface Bindings {
  readonly LEDGER: { idFromName(name: string): unknown; get(id: unknown): CellStub }
}
