import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root, with no slash at its end. */
export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

/** Every TypeScript file below a folder of the repository, relative to that folder, with forward slashes. */
export function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => /\.tsx?$/.test(file))
    .toSorted()
}

export function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

/** What may stand before a `/` that begins a regular expression and not a division. */
const beforeRegex = /(?:^|[(,=:[!&|?{};<>+\-*%~^\n]|\b(?:return|typeof|case|of|in|await|yield|else|do))\s*$/
const token =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\[\s\S]|[^'\\\n])*'|"(?:\\[\s\S]|[^"\\\n])*"|\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*|[`{}]/g

const blank = (text: string): string => text.replace(/[^\n]/g, ' ')

/**
 * The program with its comments, strings and regular expressions turned into spaces, so that a search finds code and
 * not talk about code. Lines and columns stay. Code inside `${}` of a template stays, its text does not.
 */
export function codeOf(text: string): string {
  let code = ''
  let at = 0
  /** Open braces; true for one that `${` opened, at whose end a template's text goes on. */
  const braces: boolean[] = []
  while (at < text.length) {
    token.lastIndex = at
    const found = token.exec(text)
    if (!found) return code + text.slice(at)
    const [word] = found
    code += text.slice(at, found.index)
    at = found.index + word.length
    if (word === '{') braces.push(false)
    if (word === '{' || (word === '}' && !braces.pop())) code += word
    else if (word === '`' || word === '}') {
      const end = templateEnd(text, at)
      if (text[end - 1] === '{') braces.push(true)
      code += blank(text.slice(found.index, end))
      at = end
    } else if (word.startsWith('/') && !/^\/[/*]/.test(word) && !beforeRegex.test(code)) {
      code += '/'
      at = found.index + 1
    } else code += blank(word)
  }
  return code
}

/** Where a template's text that begins at `from` ends: behind its closing backtick or behind the next `${`. */
function templateEnd(text: string, from: number): number {
  const rest = /^(?:\\[\s\S]|\$(?!\{)|[^`\\$])*(?:`|\$\{)/.exec(text.slice(from))
  return rest ? from + rest[0].length : text.length
}

/** Line number, from 1, of a place in a text. */
export const lineOf = (text: string, index: number): number => text.slice(0, index).split('\n').length

export interface Import {
  /** Relative to src/ where it lies there, else the package's name or `node:…`. */
  readonly to: string
  readonly typesOnly: boolean
}

const statement =
  /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[\w$*{},\s]+?\s+from\s+)?'([^'\n]+)'|\bimport\(\s*'([^'\n]+)'\s*\)/g

/** What a file of src/ imports or re-exports, by any form of import. `import { type X }` loads the module, so it counts as values. */
export function importsOf(file: string, text = textOf(join('src', file))): Import[] {
  const code = codeOf(text)
  return [...text.matchAll(statement)]
    .filter((match) => /\b(?:import|export)\b/.test(code.slice(match.index, match.index + match[0].length)))
    .map(([, type, stated, dynamic]) => {
      const name = stated ?? dynamic ?? ''
      const to = name.startsWith('.') ? relative(root, join(root, 'src', dirname(file), name)) : name
      return { to: to.replace(/^src\//, ''), typesOnly: type !== undefined }
    })
}
