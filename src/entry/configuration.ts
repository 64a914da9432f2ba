import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Config, ConfigError, configPath, readConfig } from '../config.ts'
import { openCrypto } from '../platform/crypto.ts'

const secretLength = 48

/** The configuration that an environment names. Throws ConfigError with all that is wrong. */
export function configFrom(env: Readonly<Record<string, string | undefined>>): Config {
  const path = configPath(env)
  if (!existsSync(path))
    throw new ConfigError(path, [`${path}: there is no such file. TOLLGATE_CONFIG names the configuration.`])
  return readConfig({ text: readFileSync(path, 'utf8'), path, env })
}

/** What keys are hashed with: given, or made at the first start and kept beside the data. */
export function secretOf({ secret, dataDir }: Config): string {
  if (secret !== undefined) return secret
  const path = secretPath(dataDir)
  if (!existsSync(path)) writeSecret(path, dataDir)
  const kept = readFileSync(path, 'utf8').trim()
  if (kept.length < secretLength)
    throw new Error(`${path} is damaged. Put back what it held, or no key that was made with it works any more.`)
  return kept
}

export function secretPath(dataDir: string): string {
  return join(dataDir, 'secret')
}

/** Whole or not at all: a process that is killed half-way must not leave an empty secret. */
function writeSecret(path: string, dataDir: string): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  writeFileSync(`${path}.new`, openCrypto('').secret(secretLength), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
