import { openPglite } from '../../src/platform/pglite.ts'
import { usageContract } from './usage-contract.ts'

usageContract('what is read from the books on PGlite', () => openPglite())
