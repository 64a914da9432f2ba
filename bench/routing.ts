import {
  affinityFigures,
  costFigures,
  deathFigures,
  type Figure,
  stormFigures,
} from '../test/support/routing-figures.ts'
import { printRows, readArgs } from './options.ts'

/** How well targets are chosen, with scripted vendors in virtual time; a figure beyond its bound fails the run. */
const options = readArgs(
  'npm run bench:routing -- [--json]\n\nThe figures of the routing over virtual hours, each with the bound that it must keep.\n',
)

const figures: Figure[] = []
figures.push(...(await costFigures(10_000, 1)))
for (const how of ['refuses', 'fails', 'is silent', 'is slow'] as const)
  figures.push(...(await deathFigures(how, { seed: 2, perSecond: 50 })))
figures.push(...(await affinityFigures(2_000, 3)), ...(await stormFigures(4)))
printRows(
  figures.map(({ what, value, bound, isKept }) => ({ figure: what, value, bound, '': isKept ? 'kept' : 'MISSED' })),
  options,
)
if (figures.some(({ isKept }) => !isKept)) process.exitCode = 1
