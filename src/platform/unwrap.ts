import { spawn } from 'node:child_process'
import type { Unwrap } from '../core/key-sealing.ts'

/** A service that keeps keys answers at once or is in trouble. */
const unwrapMs = 10_000
/** A plain key is no longer. */
const maxKeyBytes = 4_096
const usableKey = /^[\x20-\x7e]{16,}$/

/**
 * Makes a wrapped key plain. Throws an Error that tells the operator what to mend; it holds nothing of the key, and
 * nothing of what the service said.
 */
export async function unwrapKey(how: Unwrap, wrapped: string, timeoutMs = unwrapMs): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs)
  const asked = how.kind === 'command' ? byCommand(how.command, wrapped, signal) : byPost(how, wrapped, signal)
  const plain = (await asked.catch((error: unknown) => refuse(causeOf(error, signal)))).trim()
  if (!usableKey.test(plain)) refuse('gave no key of at least 16 printable ASCII characters')
  return plain
}

function refuse(why: string): never {
  throw new Error(`vendor_keys.unwrap: the service that keeps the key ${why}.`)
}

function causeOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'did not answer in time'
  return error instanceof Refused ? error.message : 'could not be asked'
}

/** What is wrong, in words of our own. */
class Refused extends Error {}

function byCommand([program = '', ...args]: readonly string[], wrapped: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], signal, killSignal: 'SIGKILL' })
    let said = Buffer.alloc(0)
    child.stdout.on('data', (chunk: Buffer) => {
      if (said.length + chunk.length > maxKeyBytes) {
        child.kill('SIGKILL')
        reject(new Refused('said more than a key'))
      } else said = Buffer.concat([said, chunk])
    })
    // It may end without having read what it was given.
    child.stdin.on('error', () => {})
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(said.toString('utf8')) : reject(new Refused('refused it'))))
    child.stdin.end(wrapped)
  })
}

async function byPost(
  { url, authorization }: Extract<Unwrap, { kind: 'url' }>,
  wrapped: string,
  signal: AbortSignal,
): Promise<string> {
  const headers = { 'content-type': 'text/plain', ...(authorization !== undefined && { authorization }) }
  // A redirect would take the wrapped key, and the right to ask, elsewhere.
  const answer = await fetch(url, { method: 'POST', headers, body: wrapped, redirect: 'error', signal })
  if (!answer.ok) throw new Refused(`refused it with status ${answer.status}`)
  let said = Buffer.alloc(0)
  for await (const chunk of answer.body ?? []) {
    if (said.length + chunk.length > maxKeyBytes) throw new Refused('said more than a key')
    said = Buffer.concat([said, chunk])
  }
  return said.toString('utf8')
}
