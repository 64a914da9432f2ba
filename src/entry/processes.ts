import { availableParallelism } from 'node:os'
import { configFrom } from './configuration.ts'
import { run, type Running } from './serve.ts'
import { supervise } from './supervisor.ts'
import { openWorkerLink } from './worker-link.ts'

/** Never more processes than a machine has any use for. */
const mostWorkers = 64

/**
 * Runs the gateway in this process, or in as many as the environment asks for. Throws an Error whose message tells the
 * operator what to do.
 */
export function serveProcesses(
  env: Readonly<Record<string, string | undefined>>,
  write: (line: string) => void,
): Promise<Running> {
  const link = openWorkerLink(env)
  return link ? run(env, write, link) : serveAll(env, write)
}

async function serveAll(env: Readonly<Record<string, string | undefined>>, write: (line: string) => void) {
  const config = configFrom(env)
  const count = config.workers === 'auto' ? Math.min(mostWorkers, availableParallelism()) : config.workers
  return count === 1 ? run(env, write) : supervise(env, write, { config, count })
}
