import { openPglite } from '../../src/platform/pglite.ts'
import { dbContract } from './contract.ts'

dbContract('the ledger on PGlite', () => openPglite())
