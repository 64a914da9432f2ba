import { giveWay } from '../platform/give-way.ts'
import { gatherWrites } from '../platform/log.ts'
import { stayWarm } from '../platform/stay-warm.ts'
import { serveProcesses } from './processes.ts'
import type { Running } from './serve.ts'

/** `npm start`: runs the gateway until it is told to stop. */
stayWarm()
giveWay()
const output = gatherWrites((text) => process.stdout.write(text))
process.on('exit', output.flush)
const starting = serveProcesses(process.env, output.write)

let running: Running | undefined
const signals = ['SIGTERM', 'SIGINT'] as const
for (const signal of signals) process.on(signal, onSignal)

process.on('uncaughtException', (error) => {
  if (running?.mend(error)) return
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exit(1)
})

/** The first signal stops in order; another one is the system's own and ends the process where it stands. */
function onSignal(): void {
  for (const signal of signals) process.off(signal, onSignal)
  void stop()
}

/** A start that is under way is finished first: calls may have come already. */
async function stop(): Promise<void> {
  try {
    await (await starting).close()
    process.exit(0)
  } catch (error) {
    fail(error)
  }
}

/** What an operator can mend is said in a sentence. */
function fail(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

try {
  running = await starting
} catch (error) {
  fail(error)
}
