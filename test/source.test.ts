import { describe, expect, test } from 'vitest'
import { codeOf, importsOf } from './source.ts'

describe('the code of a text', () => {
  test.each([
    ['a line comment', 'a // Date.now()\nb', 'a              \nb'],
    ['a block comment', 'a /* x\ny */ b', 'a     \n     b'],
    ['a string', "a('it\\'s // no comment') + b", `a(${' '.repeat(21)}) + b`],
    ['a template', 'a(`x ${b + `y${c}`} z`) + d', 'a(     b +     c      ) + d'],
    ['a template around an object', '`${f({ a: 1 })}` + b', '   f({ a: 1 })   + b'],
    ['a regular expression with quotes', 'a = /[\'"`/]+/g + b', `a = ${' '.repeat(10)} + b`],
    ['two divisions', 'a / b / c', 'a / b / c'],
  ])('is without %s', (_, text, code) => {
    expect(codeOf(text)).toBe(code)
  })

  test('keeps its lines and its length', () => {
    const text = 'const a = `1\n2 ${b}\n3`\n/* 4\n5 */ const c = "6"\n'
    expect([codeOf(text).length, codeOf(text).split('\n').length]).toEqual([text.length, text.split('\n').length])
  })
})

describe('the imports of a file', () => {
  test('are found in every form, and only in code', () => {
    const text = [
      "import { a,\n  b } from '../core/a.ts'",
      "import type { C } from './c.ts'",
      "import './d.ts'",
      "export * from '../e.ts'",
      "export type { F } from 'f'",
      "const g = await import('node:g')",
      "// import { h } from './h.ts'",
      "import { type I } from './i.ts'",
    ].join('\n')
    expect(importsOf('http/index.ts', text)).toEqual([
      { to: 'core/a.ts', typesOnly: false },
      { to: 'http/c.ts', typesOnly: true },
      { to: 'http/d.ts', typesOnly: false },
      { to: 'e.ts', typesOnly: false },
      { to: 'f', typesOnly: true },
      { to: 'node:g', typesOnly: false },
      { to: 'http/i.ts', typesOnly: false },
    ])
  })
})
