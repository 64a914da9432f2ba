/** The figures of one process as Prometheus reads them, and the number that its samples are to be told by. */
export interface WorkerMetrics {
  readonly worker: number
  readonly text: string
}

/**
 * One text of several processes' figures: each sample gets the label `worker`, and each metric is described once, as
 * the form demands. A line that is neither a description nor a sample is left out.
 */
export function mergeMetrics(all: readonly WorkerMetrics[]): string {
  const families = new Map<string, { head: readonly string[]; readonly samples: string[] }>()
  for (const { worker, text } of all) {
    for (const [name, lines] of familiesOf(text)) {
      const family = families.get(name) ?? { head: lines.filter(isHead), samples: [] }
      families.set(name, family)
      family.samples.push(...lines.flatMap((line) => labelled(line, worker)))
    }
  }
  return [...families.values()]
    .flatMap(({ head, samples }) => [...head, ...samples].map((line) => `${line}\n`))
    .join('')
}

const isHead = (line: string): boolean => line.startsWith('# ')

/** Lines by the metric that the last description before them names. */
function familiesOf(text: string): ReadonlyMap<string, readonly string[]> {
  const families = new Map<string, string[]>()
  let current: string[] = []
  for (const line of text.split('\n')) {
    const described = /^# (?:HELP|TYPE) (\S+)/.exec(line)?.[1]
    if (described !== undefined) {
      current = families.get(described) ?? []
      families.set(described, current)
    }
    current.push(line)
  }
  return families
}

/** A sample with one more label; none for any other line. */
function labelled(line: string, worker: number): readonly string[] {
  const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
  if (!sample) return []
  const [, name, labels, value] = sample
  return [`${name}{worker="${worker}"${labels ? `,${labels}` : ''}} ${value}`]
}
