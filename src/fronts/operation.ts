import type { Call, Dialect, JsonObject, Operation } from '../core/call.ts'
import { ByteStore } from '../core/byte-store.ts'
import { GatewayError } from '../core/errors.ts'
import { replaceValue, setNested } from '../core/json-bytes.ts'
import type { Measure } from '../core/measure.ts'
import { printMoney } from '../core/money.ts'
import { frame } from '../core/sse.ts'
import { callersId } from './callers-id.ts'
import { chat } from './chat.ts'
import type { Front, Gatherer, Passing, RequestParts, Writer } from './front.ts'

/*
 * What OpenAI's operations beside conversations have in common: they are asked for in one body, answered in one body,
 * in bytes or in named events, and their errors are those of a conversation.
 */

const encoder = new TextEncoder()
const nothing = new Uint8Array(0)
/** The largest answer that is gathered: texts with times of a day's recording are below 2 MB. */
const maxGatheredBytes = 32 * 1024 * 1024

export interface OperationFront {
  readonly dialect: Dialect
  readonly operation: Operation
  readonly paths: readonly string[]
  read: Front['read']
  readonly unpack?: Front['unpack']
  /** Where absent, the inner language's own body is the caller's. */
  reply?: Front['reply']
  /** What is edited in the body of a vendor that speaks the dialect, beside the model's name. */
  edit?(bytes: Uint8Array, call: Call): Uint8Array
}

export function operationFront({ edit, unpack, reply = (_, inner) => inner, ...own }: OperationFront): Front {
  return {
    ...own,
    ...(unpack && { unpack }),
    prefixes: [],
    failure: chat.failure,
    // Bytes have no place for words: the connection breaks.
    failureEvent: (error, call) => (call.form === 'bytes' ? nothing : chat.failureEvent(error, call)),
    reply,
    writer: () => silent,
    passing: (call) => passing(call, edit),
  }
}

/** Nothing of these is translated while it streams: a body in place of a stream is told as a body. */
const silent: Writer = { write: () => nothing, close: () => nothing, cut: () => nothing }

function passing(call: Call, edit: OperationFront['edit']): Passing {
  return {
    event({ event: { data, name }, piece }, cost) {
      if (call.form === 'bytes') return piece.last ? nothing : data
      const hasCost = cost !== undefined && piece.usage
      return frame(hasCost ? setNested(data, ['usage', 'cost'], encoder.encode(printMoney(cost))) : data, name)
    },
    end: nothing,
    cut: () => nothing,
    body(bytes, named) {
      const own = named ? replaceValue(bytes, 'model', encoder.encode(JSON.stringify(call.model))) : bytes
      return edit ? edit(own, call) : own
    },
    gatherer,
  }
}

/** An answer that is no JSON, as it came. */
function gatherer(): Gatherer {
  const store = new ByteStore()
  let size = 0
  return {
    add({ data }) {
      size += data.length
      if (size > maxGatheredBytes)
        throw new GatewayError('vendor_error', `The vendor's answer is larger than ${maxGatheredBytes} bytes.`)
      store.append(data)
    },
    body: () => ({}),
    bytes: () => store.take(),
  }
}

export interface Read extends Pick<Call, 'model' | 'raw' | 'body'> {
  readonly measure: Measure
  readonly more?: Partial<Call>
}

/** The call that was read; one body for one answer unless `more` says otherwise. */
export function callOf(
  { id, startedAtMs, header }: RequestParts,
  { dialect, operation }: Pick<OperationFront, 'dialect' | 'operation'>,
  { more, ...read }: Read,
): Call {
  const clientRequestId = callersId(header('x-request-id'))
  return {
    id,
    dialect,
    operation,
    ...read,
    inner: read.body,
    stream: false,
    wantsUsage: true,
    maxOutput: 0,
    choices: 1,
    startedAtMs,
    ...(clientRequestId !== undefined && { clientRequestId }),
    ...more,
  }
}

/** A body of ours, as the bytes that a vendor would have sent. */
export function bytesOf(body: JsonObject): Uint8Array {
  return encoder.encode(JSON.stringify(body))
}
