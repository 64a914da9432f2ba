import { openPglite } from '../../src/platform/pglite.ts'
import { leasesContract } from './leases-contract.ts'

leasesContract('leases on PGlite', () => openPglite())
