import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tell } from '../support/tales.ts'

/**
 * A vendor in a process of its own, so that it can be killed: tells tales on PORT, and after each writes what it told
 * as a line of TRUTH, where it stays whatever becomes of the process.
 */
const { PORT = '0', TRUTH = '' } = process.env

createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('error', () => {})
  response.on('error', () => {})
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
    void tell(body, response).then((told) => appendFileSync(TRUTH, `${JSON.stringify(told)}\n`))
  })
}).listen(Number(PORT), '127.0.0.1', () => process.stdout.write('listening\n'))
