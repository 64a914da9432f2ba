/** Variables by name; those that are not set are absent. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What the environment alone can say, and what it says over the file. */
export interface EnvironmentValues {
  readonly host: string | undefined
  readonly port: number | undefined
  readonly rest: {
    readonly dataDir: string
    readonly masterKey: string | undefined
    readonly managementKey: string | undefined
    /** What keys are hashed with. */
    readonly secret: string | undefined
    /** What vendors' keys are encrypted with in the database; absent: with what keys are hashed with. */
    readonly vendorKeySecret: string | undefined
    /** What they were encrypted with before: it still opens them. */
    readonly previousVendorKeySecret: string | undefined
    readonly databaseUrl: string | undefined
    /** The owner of the tables, where the gateway's own role is none. */
    readonly migrationDatabaseUrl: string | undefined
    /** One server, or nodes of a cluster. */
    readonly redisUrls: readonly string[] | undefined
    /** After which Redis is taken for away, ms; absent: the default of its connection. */
    readonly redisCommandMs?: number
    /** Processes that serve the port together; `auto`: one for each core of the machine. */
    readonly workers: number | 'auto'
  }
}

const workers = /^(auto|[1-9]|[1-5][0-9]|6[0-4])$/

/** A variable that is set to nothing counts as not set. */
export function readEnvironment(env: Environment): { values: EnvironmentValues; faults: readonly string[] } {
  const faults: string[] = []
  const read = (name: string, pattern: RegExp, allowed: string): string | undefined => {
    const value = env[name] || undefined
    if (value === undefined || (value.length <= 4096 && pattern.test(value))) return value
    faults.push(`environment ${name}: must be ${allowed}`)
    return undefined
  }
  const key = /^[A-Za-z0-9_.-]{16,512}$/
  const keyRule = '16 to 512 characters of A-Z, a-z, 0-9, "_", "." and "-"'
  const port = read(
    'PORT',
    /^([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/,
    'a whole number from 0 to 65535',
  )
  const rest = {
    dataDir: read('TOLLGATE_DATA_DIR', /^[^\0]+$/, 'the path of a folder') ?? './data',
    masterKey: read('TOLLGATE_MASTER_KEY', key, keyRule),
    managementKey: read('TOLLGATE_MANAGEMENT_KEY', key, keyRule),
    secret: read('TOLLGATE_SECRET', /^[\x20-\x7e]{16,}$/, 'at least 16 printable ASCII characters'),
    vendorKeySecret: read('TOLLGATE_VENDOR_KEY_SECRET', /^[\x20-\x7e]{16,}$/, 'at least 16 printable ASCII characters'),
    previousVendorKeySecret: read(
      'TOLLGATE_VENDOR_KEY_SECRET_PREVIOUS',
      /^[\x20-\x7e]{16,}$/,
      'at least 16 printable ASCII characters',
    ),
    databaseUrl: read(
      'DATABASE_URL',
      /^postgres(ql)?:\/\/./,
      'an address that begins with postgres:// or postgresql://',
    ),
    migrationDatabaseUrl: read(
      'MIGRATION_DATABASE_URL',
      /^postgres(ql)?:\/\/./,
      'an address that begins with postgres:// or postgresql://',
    ),
    redisUrls: read(
      'REDIS_URL',
      /^rediss?:\/\/[^,\s]+(,rediss?:\/\/[^,\s]+)*$/,
      'an address that begins with redis:// or rediss://, or several of a cluster with commas between them',
    )?.split(','),
    ...commandMsOf(read('REDIS_COMMAND_MS', /^[1-9][0-9]{1,4}$/, 'a whole number of milliseconds from 10 to 99999')),
    workers: workersOf(read('WORKERS', workers, 'a whole number from 1 to 64, or auto')),
  }
  if (rest.masterKey !== undefined && rest.masterKey === rest.managementKey) {
    faults.push('environment TOLLGATE_MANAGEMENT_KEY: must differ from TOLLGATE_MASTER_KEY')
  }
  if (rest.redisUrls && rest.databaseUrl === undefined)
    faults.push('environment REDIS_URL: needs a DATABASE_URL, because replicas share their books too')
  if (rest.migrationDatabaseUrl !== undefined && rest.databaseUrl === undefined)
    faults.push('environment MIGRATION_DATABASE_URL: needs a DATABASE_URL, with the role that serves')
  if (rest.workers !== 1 && !rest.redisUrls)
    faults.push(
      'environment WORKERS: needs REDIS_URL and DATABASE_URL, because processes share holds and books by them',
    )
  const host = read('HOST', /^[A-Za-z0-9.:_-]{1,255}$/, 'an address or a host name')
  return { values: { host, port: port === undefined ? undefined : Number(port), rest }, faults }
}

function commandMsOf(text: string | undefined): { readonly redisCommandMs?: number } {
  return text === undefined ? {} : { redisCommandMs: Number(text) }
}

function workersOf(text = '1'): number | 'auto' {
  return text === 'auto' ? text : Number(text)
}
