import { ByteStore } from './byte-store.ts'
import { GatewayError } from './errors.ts'
import { defaultMaxEventBytes, type EventParser, type ServerEvent } from './sse.ts'

const lf = 0x0a

/**
 * A parser for newline-separated JSON (application/x-ndjson): each line that is not blank is an event without a name.
 * A line of more than `maxEventBytes` is a fault of the vendor.
 */
export function createLineParser(maxEventBytes: number = defaultMaxEventBytes): EventParser {
  const begun = new ByteStore()
  let fault: GatewayError | undefined

  function add(events: ServerEvent[], line: Uint8Array): void {
    if (line.some((byte) => byte > 0x20)) events.push({ name: '', data: line })
  }
  /** The lines that a chunk completes; what is left over waits for the next one. */
  function scan(chunk: Uint8Array): ServerEvent[] {
    const events: ServerEvent[] = []
    let start = 0
    for (let end = chunk.indexOf(lf); end >= 0; end = chunk.indexOf(lf, start)) {
      if (begun.size + end - start > maxEventBytes) return failed(events)
      begun.append(chunk.subarray(start, end))
      add(events, begun.take())
      start = end + 1
    }
    if (begun.size + chunk.length - start > maxEventBytes) return failed(events)
    begun.append(chunk.subarray(start))
    return events
  }
  /** Events before a fault go out first, and the fault with the next call. */
  function failed(events: ServerEvent[]): ServerEvent[] {
    fault = new GatewayError('vendor_error', `The vendor sent an event of more than ${maxEventBytes} bytes.`)
    if (events.length === 0) throw fault
    return events
  }

  return {
    push(chunk) {
      if (fault) throw fault
      return scan(chunk)
    },
    end() {
      if (fault) throw fault
      const events: ServerEvent[] = []
      add(events, begun.take())
      return events
    },
  }
}
