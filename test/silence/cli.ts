import { parseArgs } from 'node:util'
import { table } from '../support/table.ts'
import { surviveSilence } from './silence.ts'

const help = `npm run silence -- [--seconds N]

Asks a vendor that says nothing for N seconds (default 310: more than the 300 at which HTTP clients and servers give up
by default), in a stream and in a body, before the first byte and after it; and the same behind a network that cuts a
connection after 100 s without a byte, or after half of N, whichever is less. It takes N seconds.
Exit code: 0 if every answer came whole and was charged once, 1 if not, 2 if the arguments cannot be used.
`

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '310' }, help: { type: 'boolean', default: false } },
})
if (values.help) process.stdout.write(help)
else if (!/^[1-9]\d{0,3}$/.test(values.seconds)) {
  process.stderr.write(`--seconds takes a whole number from 1 to 9999\n\n${help}`)
  process.exitCode = 2
} else {
  const rows = await surviveSilence(Number(values.seconds) * 1_000)
  const lines = rows.map(({ name, silentMs, longestMs, status, isWhole, outcome, cost }) => [
    name,
    `${silentMs / 1_000} s`,
    `${(longestMs / 1_000).toFixed(1)} s`,
    `${status} ${isWhole ? 'whole' : 'BROKEN'}`,
    String(outcome),
    `${cost}`,
  ])
  const head = ['silence', 'of the vendor', 'for the caller', 'answer', 'outcome', 'nano-USD']
  process.stdout.write(`${table(head, lines)}\n`)
  process.exitCode = rows.every(({ isWhole, cost }) => isWhole && cost === 16_000n) ? 0 : 1
}
