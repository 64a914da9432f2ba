import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { nodeProgram } from '../test/support/process.ts'
import { startProgram } from './contest/programs.ts'
import { startTollgate } from './contest/tollgate.ts'
import { printRows, readArgs } from './options.ts'
import { hostileBodies } from './prompts/bodies.ts'

/**
 * How long a gateway stands still for a megabyte of the hardest prompts, one call at a time: by the clock, and by the
 * CPU of its main thread, which is the figure where other work goes on.
 */
const help = `npm run bench:prompts [-- --json]

The longest gap of the gateway's event loop for prompts of 1 MB of all kinds that are hard on somebody.
`
const { json } = readArgs(help)
const startMs = 20_000
const callMs = 60_000
const warmUps = 3
const calls = 8
/** Work that goes on after the answer: counting, settling. */
const restMs = 300

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const vendor = startProgram({ command: nodeProgram, args: [here('vendor.ts')] })
const [, vendorPort] = await vendor.says(/listening (\d+)/, startMs)
const contestant = await startTollgate('pglite', {
  vendorUrl: `http://127.0.0.1:${vendorPort}`,
  cores: '',
  fetchMs: 0,
  nodeArgs: ['--import', here('loop-watch.ts')],
})
const { pid, port, headers, said } = contestant

async function ask(body: string): Promise<number> {
  const [authorization = ''] = headers
  const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: authorization.replace(/^authorization: /, ''), 'content-type': 'application/json' },
    body,
    signal: AbortSignal.timeout(callMs),
  })
  await answer.arrayBuffer()
  return answer.status
}

/** The longest gap since the last time, in ms by the clock and of CPU. */
async function gap(): Promise<{ wallMs: number; cpuMs: number }> {
  const read = () => [...(said?.() ?? '').matchAll(/^gap (\S+) (\S+)$/gm)]
  const before = read().at(-1)?.index
  const length = read().length
  process.kill(pid ?? 0, 'SIGUSR2')
  for (let look = 0; look < 200; look++) {
    await wait(10)
    const now = read()
    const last = now.at(-1)
    if (last && (now.length !== length || last.index !== before))
      return { wallMs: Number(last[1]), cpuMs: Number(last[2]) }
  }
  throw new Error('the gateway does not tell its gaps')
}

const rows: Record<string, string | number>[] = []
for (const [prompt, make] of Object.entries(hostileBodies)) {
  const body = make()
  for (let at = 0; at < warmUps; at++) await ask(body)
  await wait(restMs)
  await gap()
  const gaps: { wallMs: number; cpuMs: number }[] = []
  const statuses = new Set<number>()
  const fromMs = performance.now()
  for (let at = 0; at < calls; at++) {
    statuses.add(await ask(body))
    await wait(restMs)
    gaps.push(await gap())
  }
  const middle = (of: (one: { wallMs: number; cpuMs: number }) => number) =>
    gaps.map(of).toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0
  rows.push({
    prompt,
    MB: (Buffer.byteLength(body) / 1e6).toFixed(2),
    status: [...statuses].join(' '),
    'call ms': ((performance.now() - fromMs) / calls - restMs).toFixed(0),
    'gap ms': middle(({ wallMs }) => wallMs).toFixed(1),
    'CPU of the gap ms': middle(({ cpuMs }) => cpuMs).toFixed(1),
    'most ms': Math.max(...gaps.map(({ cpuMs }) => cpuMs)).toFixed(1),
  })
}
printRows(rows, { json })
await Promise.all([contestant.stop(), vendor.stop()])
