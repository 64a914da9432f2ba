import { spawn } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { root } from '../source.ts'

const startMs = 30_000

/** A runtime of the edge on this machine, with the services that a configuration names. */
export interface Runtime {
  /** The address of a socket. */
  url(socket: string): string
  /** Freezes the process where it stands, and lets it go on. */
  freeze(): void
  thaw(): void
  /** Kills it as it stands; what it has written stays. */
  kill(): Promise<void>
}

/** Starts workerd in `folder` with a configuration of so many sockets. */
export async function startRuntime(folder: string, config: string, sockets: number): Promise<Runtime> {
  writeFileSync(join(folder, 'edge.capnp'), config)
  const workerd = spawn(program(), ['serve', 'edge.capnp', '--control-fd=3'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  })
  const stop = () => workerd.kill('SIGKILL')
  process.once('exit', stop)
  const ended = new Promise<void>((resolve) => {
    workerd.once('exit', () => {
      process.off('exit', stop)
      resolve()
    })
  })
  const ports = await portsOf(workerd.stdio[3] as Readable, sockets)
  return {
    url: (socket) => `http://127.0.0.1:${ports.get(socket)}`,
    freeze: () => void workerd.kill('SIGSTOP'),
    thaw: () => void workerd.kill('SIGCONT'),
    kill() {
      stop()
      return ended
    },
  }
}

/** The runtime itself: the program in `.bin` is a wrapper, which hands on no pipe. */
function program(): string {
  const folder = join(root, 'node_modules/@cloudflare')
  const name = readdirSync(folder).find((one) => one.startsWith('workerd-')) ?? 'workerd'
  return join(folder, name, 'bin/workerd')
}

/** The runtime says on which ports it listens, one line for each socket. */
function portsOf(control: Readable, sockets: number): Promise<ReadonlyMap<string, number>> {
  const ports = new Map<string, number>()
  const { promise, resolve, reject } = Promise.withResolvers<ReadonlyMap<string, number>>()
  const timer = setTimeout(() => reject(new Error('workerd did not listen')), startMs)
  let pending = ''
  control.setEncoding('utf8')
  control.on('data', (more: string) => {
    const lines = (pending + more).split('\n')
    pending = lines.pop() ?? ''
    for (const line of lines) {
      const { event, socket, port } = JSON.parse(line) as { event: string; socket?: string; port?: number }
      if (event === 'listen' && socket !== undefined && port !== undefined) ports.set(socket, port)
    }
    if (ports.size === sockets) resolve(ports)
  })
  control.once('end', () => reject(new Error('workerd ended before it listened')))
  return promise.finally(() => clearTimeout(timer))
}
