import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root, textOf } from './source.ts'

/** The table of src/core/errors.ts, read from its source: it is not exported, because nothing else may need it. */
const inCode = [
  ...textOf('src/core/errors.ts').matchAll(/^ {2}(\w+): \[\s*(\d+),\s*'(\w+)',\s*(true|false),?\s*\],$/gm),
].map(([, code, status, type, again]) => [code, status, type, again === 'true' ? 'yes' : 'no'].join(' '))

const inPage = [...textOf('docs/errors.md').matchAll(/^\| `(\w+)` +\| (\d+) +\| `(\w+)` +\| (yes|no) +\| \S/gm)].map(
  ([, code, status, type, again]) => [code, status, type, again].join(' '),
)

const pages = [
  ...readdirSync(root).filter((file) => file.endsWith('.md')),
  ...readdirSync(join(root, 'docs')).flatMap((file) => (file.endsWith('.md') ? [`docs/${file}`] : [])),
]

/** Links to files of this repository that are not there. */
function brokenLinks(page: string): string[] {
  const links = [...textOf(page).matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '')
  return links
    .filter((link) => !/^(?:https?|mailto):/.test(link))
    .filter((link) => !existsSync(join(root, dirname(page), link)))
}

describe('the pages', () => {
  test('the page of errors has every code with its status, type and retry, and no other', () => {
    expect(inCode.length).toBeGreaterThan(20)
    expect(inPage.toSorted()).toEqual(inCode.toSorted())
  })

  test('the page of outcomes names every outcome', () => {
    const declared = /export type Outcome =\n((?: +\|[^\n]*\n)+)/.exec(textOf('src/core/call.ts'))?.[1] ?? ''
    const outcomes = [...declared.matchAll(/^ +\| '(\w+)'/gm)].map((match) => match[1] ?? '')
    expect(outcomes.length).toBeGreaterThan(5)
    const page = textOf('docs/outcomes.md')
    expect(outcomes.filter((outcome) => !page.includes(`\`${outcome}\``))).toEqual([])
  })

  test.each(pages)('%s links only to files that are there', (page) => {
    expect(brokenLinks(page)).toEqual([])
  })
})
