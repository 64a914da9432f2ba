import type { Json, JsonObject } from '../core/call.ts'
import { argumentsText, isObject, parseJson, stringOf } from '../core/wire.ts'

/**
 * Tool calls in the deltas of one choice, brought into the one form that SDKs can put together: each piece has its
 * index; id, type and name stand in the first piece of a call and nowhere else; arguments are text.
 */
export interface ToolDeltas {
  /** The pieces as they should be; undefined where they already are. */
  repair(pieces: readonly JsonObject[]): readonly JsonObject[] | undefined
}

/** SDKs read up to 128. Pieces of calls beyond these pass as they are. */
const maxCalls = 1024
const encoder = new TextEncoder()

interface Known {
  readonly index: number
  readonly theirIndex: Json | undefined
  id: string
  name: string
  /** Only kept where the vendor gives no indexes: a call that is complete is not continued. */
  text: string
}

/** `idPrefix` begins the ids of calls to which the vendor gives none. */
export function createToolDeltas(idPrefix: string): ToolDeltas {
  const known: Known[] = []
  return {
    repair(pieces) {
      const repaired = pieces.map((piece) => repairPiece(known, piece, idPrefix))
      return repaired.some((piece, at) => piece !== pieces[at]) ? repaired : undefined
    },
  }
}

function repairPiece(known: Known[], piece: JsonObject, idPrefix: string): JsonObject {
  const called = piece['function']
  // A custom tool's call, or nothing that we know.
  if (!isObject(called)) return piece
  const found = find(known, piece, called)
  if (!found && known.length >= maxCalls) return piece
  if (found) return continued(found, piece, called)
  return begun(known, { piece, called, idPrefix })
}

/**
 * The call that a piece goes on with. The same id is the same call. The same index is too, unless a new id comes with a
 * name: some vendors give every call the index 0. Without an index it is the last call, unless that one is complete.
 */
function find(known: readonly Known[], piece: JsonObject, called: JsonObject): Known | undefined {
  const { index } = piece
  const [id, name] = [stringOf(piece['id']), stringOf(called['name'])]
  const sameId = id === '' ? undefined : known.findLast((call) => call.id === id)
  if (sameId) return sameId
  if (typeof index === 'number') {
    const sameIndex = known.findLast((call) => call.theirIndex === index)
    return sameIndex && id !== '' && name !== '' ? undefined : sameIndex
  }
  const last = known.at(-1)
  if (!last || id !== '') return undefined
  return name !== '' && isComplete(last.text) ? undefined : last
}

function isComplete(text: string): boolean {
  return parseJson(encoder.encode(text)) !== undefined
}

function begun(
  known: Known[],
  { piece, called, idPrefix }: { piece: JsonObject; called: JsonObject; idPrefix: string },
): JsonObject {
  const index = known.length
  const id = stringOf(piece['id']) || `${idPrefix}${index}`
  const given = argumentsText(called['arguments'])
  const name = stringOf(called['name'])
  const keepsText = typeof piece['index'] !== 'number'
  known.push({ index, theirIndex: piece['index'], id, name, text: keepsText ? given : '' })
  const isSound =
    piece['index'] === index &&
    piece['id'] === id &&
    piece['type'] === 'function' &&
    typeof called['name'] === 'string' &&
    (called['arguments'] === undefined || called['arguments'] === given)
  if (isSound) return piece
  return { ...piece, index, id, type: 'function', function: { ...called, name, arguments: given } }
}

function continued(call: Known, piece: JsonObject, called: JsonObject): JsonObject {
  const { id, type, index, ...outer } = piece
  const { name, arguments: theirs, ...inner } = called
  const given = argumentsText(theirs)
  if (typeof index !== 'number') call.text += given
  const isSound =
    index === call.index &&
    (id === undefined || id === call.id) &&
    (type === undefined || type === 'function') &&
    name === undefined &&
    (theirs === undefined || theirs === given)
  if (isSound) return piece
  // A name that comes in pieces has no place after the first one; recorded vendors repeat it or send ''.
  return { ...outer, index: call.index, function: { ...inner, arguments: given } }
}
