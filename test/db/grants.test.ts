import { openPglite } from '../../src/platform/pglite.ts'
import { grantsContract, grantsMigration } from './grants-contract.ts'

grantsContract('grants on PGlite', () => openPglite())
grantsMigration(() => openPglite())
