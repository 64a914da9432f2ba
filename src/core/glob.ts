/** Patterns of model names: `*` stands for any run of characters, everything else for itself. */

export const globLimits = { patterns: 50, length: 200 } as const

/** True where one of the patterns fits the whole name, or where there is none: no pattern means any name. */
export function fitsAny(globs: readonly string[], name: string): boolean {
  return globs.length === 0 || globs.some((glob) => fits(glob, name))
}

/** Takes each piece between two stars at its first place, which is as good as any: linear, without going back. */
function fits(glob: string, name: string): boolean {
  const [first = '', ...rest] = glob.split('*')
  const last = rest.pop()
  if (last === undefined) return glob === name
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  const end = name.length - last.length
  let at = first.length
  for (const piece of rest) {
    const found = name.indexOf(piece, at)
    if (found === -1 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
