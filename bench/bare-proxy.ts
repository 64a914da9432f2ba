import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Dispatcher, Pool } from 'undici'

/*
 * The least that a proxy on Node can be: node:http in front, undici's dispatch behind, the bytes as they are. It knows
 * no caller, counts nothing and bills nobody. `node bench/bare-proxy.ts VENDOR_URL`; prints `listening PORT`.
 */

const mostBodyBytes = 32 * 1024 * 1024
const connections = 4_096

const [origin = ''] = process.argv.slice(2)
const pool = new Pool(origin, { connections, pipelining: 1, keepAliveTimeout: 60_000, allowH2: false })
const headers = ['content-type', 'application/json', 'authorization', 'Bearer secret-of-the-vendor']
const passed = ['content-type', 'content-length', 'cache-control', 'x-request-id']

class Relay implements Dispatcher.DispatchHandler {
  readonly response: ServerResponse
  controller: Dispatcher.DispatchController | undefined

  constructor(response: ServerResponse) {
    this.response = response
    response.once('close', () => {
      if (!response.writableFinished) this.controller?.abort(new Error('the caller went away'))
    })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.response.destroyed) controller.abort(new Error('the caller went away'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    found: Record<string, string | string[] | undefined>,
  ): void {
    const kept: string[] = []
    for (const name of passed) {
      const value = found[name]
      if (typeof value === 'string') kept.push(name, value)
    }
    this.response.writeHead(status, kept)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.response.write(chunk)) return
    controller.pause()
    this.response.once('drain', () => controller.resume())
  }

  onResponseEnd(): void {
    this.response.end()
  }

  onResponseError(): void {
    if (this.response.headersSent) this.response.destroy()
    else this.response.writeHead(502).end()
  }
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const parts: Buffer[] = []
  let size = 0
  request.on('data', (part: Buffer) => {
    size += part.length
    if (size > mostBodyBytes) request.destroy()
    else parts.push(part)
  })
  request.on('end', () => {
    const body = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
    pool.dispatch({ path: request.url ?? '/', method: 'POST', headers, body }, new Relay(response))
  })
}

const server = createServer({ noDelay: true, keepAliveTimeout: 75_000 }, serve)
server.listen(0, '127.0.0.1', 4_096, () => {
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`)
})
process.once('SIGTERM', () => process.exit(0))
