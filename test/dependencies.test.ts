import { expect, test } from 'vitest'
import { textOf } from './source.ts'

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const manifest = JSON.parse(textOf('package.json')) as Manifest
const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }
/** The names in the first column of the page's tables. */
const explained = [...textOf('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| \S/gm)].map((match) => match[1] ?? '')

test('every dependency has one line that says why it is there, and no line is left over', () => {
  expect(explained.toSorted()).toEqual(Object.keys(all).toSorted())
})

test('every dependency is pinned to one version', () => {
  expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))).toEqual([])
})
