import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/**
 * Takes a data folder for this process, making it where it is missing, and returns what gives it back. An exclusive
 * transaction of SQLite is a lock of the kernel: it goes with the process, however that dies, and holds across
 * containers that share the file system. Throws, in words for an operator, where another process has the folder.
 */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const lock = new DatabaseSync(join(folder, 'lock'))
  try {
    lock.exec('pragma locking_mode = exclusive; begin exclusive')
  } catch (error) {
    lock.close()
    throw new Error(
      `Another gateway is running on the data folder ${folder}. Stop it first, or give this one a folder of its own ` +
        '(TOLLGATE_DATA_DIR).',
      { cause: error },
    )
  }
  return () => lock.isOpen && lock.close()
}
