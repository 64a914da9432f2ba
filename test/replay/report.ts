/** An entry that did not come out as its manifest says. */
export interface Failure {
  readonly id: string
  readonly differences: readonly string[]
}

/** What became of one vendor's recordings. */
export interface VendorReport {
  readonly vendor: string
  readonly passed: number
  readonly failures: readonly Failure[]
  /** How many entries were not replayed, by the reason. */
  readonly skipped: ReadonlyMap<string, number>
}

export interface Totals {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const shownDifferences = 8
const longestDifference = 400

export function totalsOf(reports: readonly VendorReport[]): Totals {
  return {
    passed: sum(reports.map(({ passed }) => passed)),
    failed: sum(reports.map(({ failures }) => failures.length)),
    skipped: sum(reports.map(skippedOf)),
  }
}

/** The whole report: a line per vendor, the reasons, the failures, and the totals in the last line. */
export function printReport(reports: readonly VendorReport[]): string {
  const { passed, failed, skipped } = totalsOf(reports)
  return [
    ...table(reports),
    ...reasons(reports),
    ...failuresOf(reports),
    '',
    `${passed} passed, ${failed} failed, ${skipped} skipped`,
  ].join('\n')
}

function table(reports: readonly VendorReport[]): string[] {
  const width = Math.max(6, ...reports.map(({ vendor }) => vendor.length))
  const row = (vendor: string, ...cells: readonly (string | number)[]) =>
    [vendor.padEnd(width), ...cells.map((cell) => String(cell).padStart(8))].join(' ')
  return [
    row('vendor', 'passed', 'failed', 'skipped'),
    ...reports.map((report) => row(report.vendor, report.passed, report.failures.length, skippedOf(report))),
  ]
}

function reasons(reports: readonly VendorReport[]): string[] {
  const lines = reports.flatMap(({ vendor, skipped }) =>
    [...skipped].map(([reason, count]) => `  ${vendor}: ${count} × ${reason}`),
  )
  return lines.length > 0 ? ['', 'skipped', ...lines] : []
}

function failuresOf(reports: readonly VendorReport[]): string[] {
  const lines = reports.flatMap(({ vendor, failures }) =>
    failures.flatMap(({ id, differences }) => [`  ${vendor}/${id}`, ...bounded(differences)]),
  )
  return lines.length > 0 ? ['', 'failed', ...lines] : []
}

function bounded(differences: readonly string[]): string[] {
  const lines = differences.slice(0, shownDifferences).map((line) => `    ${line.slice(0, longestDifference)}`)
  const more = differences.length - lines.length
  return more > 0 ? [...lines, `    and ${more} more`] : lines
}

function skippedOf({ skipped }: VendorReport): number {
  return sum([...skipped.values()])
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
