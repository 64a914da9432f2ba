import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair,
} from 'yaml'
import type { Environment } from './environment.ts'

/** A configuration file is small; anything larger is the wrong file. */
const maxCharacters = 1_048_576
const maxDepth = 32
/** An alias may be used often, but its expansion may not grow without bound. */
const maxAliases = 1_000

export type Path = readonly PropertyKey[]

/** One thing that is wrong. `text` says what and what is allowed; it never holds a value of the file. */
export interface Fault {
  readonly line: number
  readonly column: number
  readonly field: string
  readonly text: string
}

/** A YAML file as plain values, with the place of each of them. */
export interface Source {
  readonly raw: unknown
  readonly faults: readonly Fault[]
  /** True where a reference to the environment could not be resolved: what stands there says nothing. */
  unresolved(path: Path): boolean
  /** A fault at the key or the value of a path; where the path does not exist, at its deepest parent that does. */
  fault(path: Path, text: string, at?: 'key' | 'value'): Fault
}

/** What the parser's error codes mean. Its own messages quote the file, which holds secrets. */
const meanings: Readonly<Record<string, string>> = {
  BAD_INDENT: 'the indentation does not fit the lines above',
  BLOCK_AS_IMPLICIT_KEY: 'a nested map cannot begin on the line of its key',
  DUPLICATE_KEY: 'stands twice in the same map; keep one',
  MISSING_CHAR: 'a closing quote, bracket, colon or comma is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line, followed by a colon',
  MULTIPLE_DOCS: 'only one YAML document is allowed in the file',
  TAB_AS_INDENT: 'tabs cannot indent; use spaces',
  TAG_RESOLVE_FAILED: 'tags are not known here; remove the word that begins with "!"',
  UNEXPECTED_TOKEN: 'something stands where YAML does not allow it',
}

/** `${NAME}`, `${NAME:-default}`; `$${` is a plain `${`; any other `${` is a fault. */
const reference = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g
const plainSegment = /^[A-Za-z0-9_-]+$/
const secretLike = /^(sk-|AIza|bearer )|^.{129}/i

/** A path as people write it: `models["gpt-4.1"].targets[0].vendor`. A name that looks like a secret is masked. */
export function printPath(path: Path): string {
  const parts = path.map((segment, index) => {
    if (typeof segment === 'number') return `[${segment}]`
    const name = secretLike.test(String(segment)) ? '…' : String(segment)
    if (!plainSegment.test(name)) return `[${JSON.stringify(name)}]`
    return index === 0 ? name : `.${name}`
  })
  return parts.join('')
}

/** Reads YAML into plain values, with `${NAME}` in its strings replaced from the environment. Never throws. */
export function readSource(text: string, env: Environment): Source {
  const lines = new LineCounter()
  const faults: Fault[] = []
  const unresolved = new Set<string>()
  const broken = (why: string): Source => ({
    raw: {},
    faults: [{ line: 1, column: 1, field: 'YAML', text: why }],
    unresolved: () => false,
    fault: (path, text) => ({ line: 1, column: 1, field: printPath(path), text }),
  })
  if (text.length > maxCharacters) return broken(`the file is larger than ${maxCharacters} characters`)
  let document: Document.Parsed
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  } catch {
    // Nesting so deep that the parser ran out of stack; its own error says nothing else.
    return broken('the file cannot be read as YAML')
  }
  // The parser gave up on the nesting; what it says of the rest follows from that.
  if (document.errors.some(({ code }) => code === 'RESOURCE_EXHAUSTION'))
    return broken('the file cannot be read as YAML')
  const place = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  for (const error of document.errors) {
    const name = error.code === 'DUPLICATE_KEY' ? keyAt(text, error.pos[0]) : 'YAML'
    faults.push({ ...place(error.pos[0]), field: name, text: meanings[error.code] ?? `not valid YAML (${error.code})` })
  }
  const fault: Source['fault'] = (path, why, at = 'value') => ({
    ...place(offsetOf(document, path, at)),
    field: printPath(path),
    text: why,
  })
  const fail: Substitution['fail'] = (path, why) => {
    unresolved.add(printPath(path))
    faults.push(fault(path, why))
  }
  substitute(document.contents, [], { env, fail })
  return { raw: plain(document, faults), faults, unresolved: (path) => unresolved.has(printPath(path)), fault }
}

function plain(document: Document.Parsed, faults: Fault[]): unknown {
  try {
    return document.toJS({ maxAliasCount: maxAliases }) ?? {}
  } catch {
    // An alias without its anchor, or a chain of aliases that grows without end; both are thrown here as ReferenceError.
    faults.push({
      line: 1,
      column: 1,
      field: 'YAML',
      text: 'an alias has no anchor above it, or aliases expand too far',
    })
    return {}
  }
}

interface Substitution {
  readonly env: Environment
  fail(path: Path, why: string): void
}

/** Replaces references in every string below `node`, in place. */
function substitute(node: unknown, path: Path, into: Substitution): void {
  if (path.length > maxDepth) return into.fail(path, `is nested deeper than ${maxDepth} levels`)
  if (isMap(node)) for (const pair of node.items) substitute(pair.value, [...path, keyOf(pair)], into)
  if (isSeq(node)) for (const [index, item] of node.items.entries()) substitute(item, [...path, index], into)
  if (!isScalar(node) || typeof node.value !== 'string' || !node.value.includes('${')) return
  node.value = node.value.replace(reference, (found: string, name?: string, fallback?: string) => {
    if (found === '$${') return '${'
    if (name === undefined) {
      into.fail(path, 'is not a reference to the environment: write ${NAME} or ${NAME:-default}, or $${ for a plain ${')
      return ''
    }
    // As in a shell, the default also stands in for a variable that is set to nothing.
    const value = fallback === undefined ? into.env[name] : into.env[name] || fallback
    if (value === undefined) {
      into.fail(path, `refers to ${name}, which is not set: set it, or write \${${name}:-} to allow that`)
    }
    return value ?? ''
  })
}

function keyOf(pair: Pair): string {
  return String(isScalar(pair.key) ? pair.key.value : '')
}

function keyAt(text: string, offset: number): string {
  const name = /^["']?([^"':\n]{0,200})/.exec(text.slice(offset, offset + 256))?.[1] ?? ''
  return printPath([name.trim()])
}

function offsetOf(document: Document.Parsed, path: Path, at: 'key' | 'value'): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const [index, segment] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document)
    const last = index === path.length - 1
    if (isSeq(node)) {
      node = node.items[Number(segment)]
      offset = startOf(node) ?? offset
    } else if (isMap(node)) {
      const pair: Pair | undefined = node.items.find((item) => keyOf(item) === String(segment))
      if (pair === undefined) return offset
      offset = startOf(pair.key) ?? offset
      node = pair.value
      // A map is pointed at by its key: where its first member stands would mislead.
      if (last && at === 'value' && !isMap(node)) offset = startOf(node) ?? offset
    } else {
      return offset
    }
  }
  return offset
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined
}
