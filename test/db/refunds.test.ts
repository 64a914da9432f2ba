import { openPglite } from '../../src/platform/pglite.ts'
import { refundsContract } from './refunds-contract.ts'

refundsContract('refunds on PGlite', () => openPglite())
